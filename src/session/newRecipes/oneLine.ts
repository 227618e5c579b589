import path from 'node:path'
import { withoutExtension } from '../../checkpoints/containers/index.js'
import { fault } from '../../core/diagnostics.js'
import { addressIn, withSlashes } from '../../core/names/fileNames.js'
import { safeJson } from '../../core/printable.js'
import { quote } from '../../core/suggest.js'

/** A model of the command line with its name in the recipe. */
export interface NamedModel {
  readonly name: string
  /** The model as given, without an adapter. */
  readonly model: string
  readonly adapter?: string
  /** The model's entry in the recipe, as YAML. Paths are relative to the recipe's folder if that is shorter. */
  readonly entry: string
}

/** Whether a file or folder exists, to distinguish a plus sign in a path from one before an adapter. */
export type IsThere = (file: string) => boolean

/** Generic file names. The folder's name is used instead. */
const GENERIC = /^(model|pytorch_model|diffusion_pytorch_model|adapter_model|weights|checkpoint)(-\d+-of-\d+)?$/i

function baseName(reference: string): string {
  const parts = reference
    .replace(/^hf:/, '')
    .replace(/@[^@/\\]*$/, reference.startsWith('hf:') ? '' : '$&')
    .split(/[/\\]+/)
    .filter((part) => part !== '' && part !== '.' && part !== '..')
  const last = withoutExtension(parts.at(-1) ?? '')
  const chosen = GENERIC.test(last) && parts.length > 1 ? parts.at(-2)! : last
  const name = chosen.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+|-+$/g, '')
  return name === '' ? 'model' : name
}

/** Splits `MODEL+ADAPTER` at the first plus sign after an existing model, unless the whole text is a model. */
function splitAdapter(
  given: string,
  there: (name: string) => boolean,
): { readonly model: string; readonly adapter?: string } {
  const parts = given.split('+')
  if (parts.length === 1 || there(given)) return { model: given }
  const ways = parts.slice(1).map((_, at) => ({
    model: parts.slice(0, at + 1).join('+'),
    adapter: parts.slice(at + 1).join('+'),
  }))
  return ways.find(({ model }) => addressIn(model) !== undefined || there(model)) ?? ways[0]!
}

/** Converts a path relative to `folder` to one relative to `recipeFolder`. Keeps absolute paths and addresses. */
export function referenceFrom(given: string, folder: string, recipeFolder: string): string {
  if (addressIn(given) !== undefined || path.isAbsolute(given) || folder === recipeFolder) return given
  const relative = withSlashes(path.relative(recipeFolder, path.resolve(folder, given)))
  return relative === '' ? '.' : relative
}

/**
 * Names `MODEL` and `MODEL+ADAPTER` after their files, with unique names: `resnet`, `resnet-2`. Paths are relative to `folder`.
 */
export function nameModels(
  given: readonly string[],
  folder: string,
  recipeFolder: string,
  isThere: IsThere,
): NamedModel[] {
  const taken = new Set<string>()
  return given.map((written) => {
    const { model, adapter } = splitAdapter(written, (name) => isThere(path.resolve(folder, name)))
    // A model with an adapter is named after the adapter.
    const base = baseName(adapter ?? model)
    let name = base
    for (let n = 2; taken.has(name); n++) name = `${base}-${n}`
    taken.add(name)
    const reference = yamlText(referenceFrom(model, folder, recipeFolder))
    if (adapter === undefined) return { name, model, entry: reference }
    const lora = yamlText(referenceFrom(adapter, folder, recipeFolder))
    return { name, model, adapter, entry: `{path: ${reference}, lora: ${lora}}` }
  })
}

/** A merge from the command line. Texts are the values of flags. */
export interface OneLine {
  /** Paths or `hf:org/name@revision`, each optionally with `+ADAPTER`. */
  readonly models: readonly string[]
  /** Where to write: a safetensors file, or a folder. */
  readonly output: string
  /** The name of a merge method. */
  readonly method: string
  /** One number per model, separated by commas. */
  readonly weights?: string
  /** One of the models, by its name or as it is given. */
  readonly base?: string
  /** Patterns of tensors to merge. */
  readonly include?: readonly string[]
  /** Patterns of tensors not to merge. */
  readonly exclude?: readonly string[]
  /** Parameters of the method, as `name=value`. */
  readonly param?: readonly string[]
}

/** A JSON string, which is also valid YAML. Characters that are unsafe to print are escaped. */
export const yamlText = (text: string): string =>
  /^(\.{0,2}\/)?[A-Za-z_][\w./-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text)
    ? text
    : safeJson(JSON.stringify(text))

const list = (items: readonly string[]): string => `[${items.map(yamlText).join(', ')}]`

/** A JSON number, boolean, list or mapping; anything else is a string. */
function parameter(written: string): string {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(written) ?? []
  if (name === undefined || value === undefined)
    throw fault('bad-flag', `--param must be name=value, not ${quote(written)}`, 'write --param t=0.3')
  let text = yamlText(value)
  try {
    text = JSON.stringify(JSON.parse(value))
  } catch {}
  return `${yamlText(name)}: ${text}`
}

/** Weights as numbers separated by commas. Error: `bad-flag`. */
function weightList(written: string): string {
  const numbers = written.split(',').map((part) => part.trim())
  const bad = numbers.find((number) => !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(number))
  if (bad !== undefined)
    throw fault(
      'bad-flag',
      `--weights must be numbers separated by commas, not ${quote(bad)}`,
      'write --weights 0.7,0.3',
    )
  return `[${numbers.map(Number).join(', ')}]`
}

/**
 * The recipe of a merge from the command line. Given paths are relative to `folder`, those of the recipe to `recipeFolder`.
 * A base that is not one of the models is not merged itself. A method that requires a base gets none that is not given: the
 * recipe has an error then, unless the models are adapters. Error: `bad-flag`.
 */
export function oneLineRecipe(
  line: OneLine,
  folder: string,
  recipeFolder: string,
  isThere: IsThere = () => false,
): string {
  const same = (one: string, other: string): boolean =>
    one === other || path.resolve(folder, one) === path.resolve(folder, other)
  const inside = line.base === undefined ? -1 : line.models.findIndex((model) => same(model, line.base!))
  const outside = line.base !== undefined && inside < 0
  const named = nameModels([...line.models, ...(outside ? [line.base!] : [])], folder, recipeFolder, isThere)
  const base = line.base === undefined ? undefined : outside ? named.at(-1)! : named[inside]!
  const lines = ['terge: 1', 'models:', ...named.map(({ name, entry }) => `  ${yamlText(name)}: ${entry}`)]
  if (base) lines.push(`base: ${yamlText(base.name)}`)
  if (line.include || line.exclude) {
    lines.push('filters:')
    if (line.include) lines.push(`  include: ${list(line.include)}`)
    if (line.exclude) lines.push(`  exclude: ${list(line.exclude)}`)
  }
  lines.push('merge:', `  method: ${yamlText(line.method)}`)
  if (outside) lines.push(`  models: ${list(named.slice(0, -1).map(({ name }) => name))}`)
  if (line.weights !== undefined) lines.push(`  weights: ${weightList(line.weights)}`)
  if (line.param) lines.push(`  parameters: {${line.param.map(parameter).join(', ')}}`)
  lines.push(`output: ${yamlText(referenceFrom(line.output, folder, recipeFolder))}`)
  return `${lines.join('\n')}\n`
}
