/** The engines that terge submit writes jobs for. */
import { argo, jobset } from './kubernetes.js'
import { slurm } from './slurm.js'

export const ENGINES = { slurm, kubernetes: jobset, argo } as const
