import { simCluster } from '../../sim/stations.ts'
import { transportContract } from './contract.ts'

transportContract('the simulator', simCluster)
