// The recipe of a method for some models, made from the registry.
import path from 'node:path'

/** Participants that a method is measured with, its base apart. */
export function participants(method, wanted = 2) {
  const { least, most = Number.POSITIVE_INFINITY } = method.models
  return Math.min(Math.max(wanted, least), most)
}

/** Whether it needs a base that takes no part itself. */
export const apart = (method) => method.base === 'required'

/** A value for a parameter that must be written: the middle of its range. */
const required = ({ choices, minimum = 0, maximum = 1 }) => JSON.stringify(choices?.[0] ?? (minimum + maximum) / 2)

/** Recipe text. Inputs in order; the last one is the base where the method needs one apart. */
export function recipeText(method, files, output, parameters = {}) {
  const names = files.map((_, n) => `m${n}`)
  const written = method.parameters.filter((parameter) => parameter.default === undefined)
  const values = [
    ...written
      .filter(({ name }) => !(name in parameters))
      .map((parameter) => `${parameter.name}: ${required(parameter)}`),
    ...Object.entries(parameters).map(([name, value]) => `${name}: ${JSON.stringify(value)}`),
  ]
  return [
    'terge: 1',
    'models:',
    ...files.map((file, n) => `  ${names[n]}: ${JSON.stringify(path.resolve(file))}`),
    ...(apart(method) ? [`base: ${names.at(-1)}`] : []),
    'merge:',
    `  method: ${method.name}`,
    ...(values.length > 0 ? [`  parameters: {${values.join(', ')}}`] : []),
    `output: ${JSON.stringify(path.resolve(output))}`,
    '',
  ].join('\n')
}
