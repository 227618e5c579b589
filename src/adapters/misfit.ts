import type { ErrorCode } from '../core/codes.js'
import type { Misfit, Reporter } from './types.js'

export const RIGHT_BASE = 'use the base model that the adapter was trained on'

/** The way out for tensors without elements. */
export const EMPTY =
  'save the adapter again with all of its tensors: ZeRO-3 needs stage3_gather_16bit_weights_on_model_save'

/** An error about an update. `whole`: the message does not follow the module's name. */
export const misfit = (code: ErrorCode, message: string, hint: string, whole = false): Misfit => ({
  kind: 'misfit',
  ...{ code, message, hint, whole },
})

/** The rank of a module's factors differs from the configuration. */
export const rankMisfit = (stored: number, written: number): Misfit =>
  misfit(
    'adapter-rank',
    ` has rank ${stored} in the tensors and ${written} in adapter_config.json`,
    'the files do not belong together: download the adapter again',
  )

export const report = ({ code, message, hint, whole }: Misfit, module: string, reporter: Reporter): undefined =>
  reporter.error(code, whole ? message : `${module}${message}`, hint) as undefined
