import path from 'node:path'
import { withoutExtension } from '../checkpoints/containers/index.js'
import { fault } from '../core/diagnostics.js'
import { safeJson } from '../core/printable.js'
import { quote } from '../core/suggest.js'
import { lookupMethod } from '../methods/registry.js'

/** Models with the names that a recipe made for them calls them by. */
export interface NamedModel {
  readonly name: string
  /** The model as it was given, without an adapter. */
  readonly model: string
  readonly adapter?: string
  /** What the recipe says of it, as YAML: paths relative to the recipe's folder where that is shorter to read. */
  readonly entry: string
}

/** Whether there is a file or folder: tells a plus sign in a path from one before an adapter. */
export type IsThere = (file: string) => boolean

/** Names that say nothing about a model: the folder's says more. */
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

/** `MODEL+ADAPTER`, where nothing is called so as a whole; of several plus signs the first that a model stands before. */
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
  return ways.find(({ model }) => model.startsWith('hf:') || there(model)) ?? ways[0]!
}

/** A path for a recipe in `recipeFolder`, as it was given in `folder`; absolute paths and the hub's names stay. */
function referenceFrom(given: string, folder: string, recipeFolder: string): string {
  if (given.startsWith('hf:') || path.isAbsolute(given) || folder === recipeFolder) return given
  const relative = path.relative(recipeFolder, path.resolve(folder, given)).split(path.sep).join('/')
  return relative === '' ? '.' : relative
}

/**
 * Names `MODEL` and `MODEL+ADAPTER` after their files, each name once: `resnet`, `resnet-2`. Given paths are relative to `folder`.
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
    // With an adapter it is the adapter that tells models apart.
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

/** A merge as it is described on one command line; texts are those of the flags. */
export interface OneLine {
  readonly models: readonly string[]
  readonly output: string
  readonly method: string
  readonly weights?: string
  readonly base?: string
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  /** `name=value`. */
  readonly param?: readonly string[]
}

/** Strings of JSON are strings of YAML, whatever is in them; what is unsafe to print becomes an escape. */
export const yamlText = (text: string): string =>
  /^(\.{0,2}\/)?[A-Za-z_][\w./-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text)
    ? text
    : safeJson(JSON.stringify(text))

const list = (items: readonly string[]): string => `[${items.map(yamlText).join(', ')}]`

/** A number, true, false, a list or a mapping as JSON writes them; anything else is a word. */
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

/** Weights as given: numbers between commas. */
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
 * The recipe of a merge in one line. `folder` is where the given paths start, `recipeFolder` where the recipe will lie.
 * A base that is not among the models takes no part in the merge itself. Errors: `bad-flag`, and `missing-base` where the method
 * needs a base: the first model is not one because it stands first.
 */
export function oneLineRecipe(
  line: OneLine,
  folder: string,
  recipeFolder: string,
  isThere: IsThere = () => false,
): string {
  const method = lookupMethod(line.method)
  if (line.base === undefined && (method?.base === 'required' || method?.base === 'listed'))
    throw fault(
      'missing-base',
      `${method.name} requires a base model`,
      'add --base MODEL: the model that the others were fine-tuned from',
    )
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
