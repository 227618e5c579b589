/** Errors in a formula, and the way out of code that ends at the first one. */
import type { At, FormulaFault } from './types.js'

export const formulaFault = (message: string, { start, end }: At, hint?: string): FormulaFault => ({
  code: 'bad-formula',
  message,
  at: { start, end },
  ...(hint === undefined ? {} : { hint }),
})

/** Ends work after the first error. Never leaves the file that does the work. */
export class Stop {
  constructor(readonly fault: FormulaFault) {}
}

export const stop = (message: string, at: At, hint?: string): never => {
  throw new Stop(formulaFault(message, at, hint))
}
