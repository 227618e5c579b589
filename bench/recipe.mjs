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

/** What a user would write where the default leaves the costly half of a method undone. */
const USUAL = { density: 0.5, select_topk: 0.5 }

/** Recipe text. Inputs in order; the last one is the base where the method needs one apart. */
export function recipeText(method, files, output) {
  const names = files.map((_, n) => `m${n}`)
  const values = method.parameters.flatMap((parameter) => {
    const { name } = parameter
    const value = USUAL[name]
    if (value !== undefined) return [`${name}: ${JSON.stringify(value)}`]
    return parameter.default === undefined ? [`${name}: ${required(parameter)}`] : []
  })
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
