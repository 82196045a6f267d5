import { transportContract } from './contract.ts'
import { libp2pCluster } from './stations.ts'

transportContract('libp2p', libp2pCluster)
