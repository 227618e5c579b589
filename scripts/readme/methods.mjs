// The merge methods, from the registry.
import { METHODS } from '../../dist/src/methods/registry.js'
import { methodText } from '../../dist/src/ui/methods.js'
import { table, ticks } from './markdown.mjs'

const names = ({ name, aliases }) => [name, ...aliases].map(ticks).join(', ')
const paper = (number) => (number === undefined ? '' : `[${number}](https://arxiv.org/abs/${number})`)
const BASES = { none: '', required: 'required', optional: 'optional', listed: 'one of the models' }
const parameters = (method) =>
  method.parameters.map(({ name, default: value }) => `${ticks(name)} ${value ?? '(required)'}`).join(', ')

export const methodTable = () =>
  table(
    ['method', 'merges by', 'parameters and defaults', 'base', 'paper'],
    METHODS.map((method) => [
      names(method),
      method.summary,
      parameters(method),
      BASES[method.base],
      paper(method.paper),
    ]),
  )

/** As `terge methods NAME` prints it. */
export const methodReference = () =>
  METHODS.map((method) => `### \`${method.name}\`\n\n\`\`\`\n${methodText(method).trimEnd()}\n\`\`\``).join('\n\n')
