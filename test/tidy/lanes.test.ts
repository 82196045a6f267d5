// Each end-to-end file is in the lane where its agents live, and the rule sees each way not to be.
import { expect, test } from 'vitest'
import { lanesApart } from './lanes.ts'
import { sources } from './source.ts'

const lab = { path: 'test/e2e/lab.ts', text: "import { createLan } from './machines.ts'\n" }

test('files of the two lanes share no network', () => {
  expect(lanesApart(sources(['test']))).toEqual([])
})

test.for([
  ['test/e2e/cables.test.ts', "import { createLan } from './machines.ts'\n"],
  ['test/e2e/cables.test.ts', "import { startLab } from './lab.ts'\n"],
  ['test/e2e/machines-gone.test.ts', "import { createCluster } from './cluster.ts'\n"],
  [
    'test/e2e/linux-x.test.ts',
    "import { startLab } from './lab.ts'\nconst cluster = await createCluster({ nodes: 2 })\n",
  ],
])('%s is in the wrong lane', ([path = '', text = '']) => {
  expect(lanesApart([lab, { path, text }])).toHaveLength(1)
})
