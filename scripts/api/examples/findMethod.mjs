import { Fault, findMethod } from 'terge'

const { summary, base, parameters } = findMethod('ties')
console.log(`${summary} (base: ${base})`)
console.log(parameters.map(({ name, default: value }) => `${name}: ${value}`))
try {
  findMethod('tise')
} catch (error) {
  if (error instanceof Fault) console.log(error.diagnostics[0]?.code, error.diagnostics[0]?.hint)
}
