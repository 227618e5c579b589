/**
 * Where a model in another layout is stored: in one file, as a module of a pipeline, or with a folder per module. Small files that a
 * folder needs come from the model, from the folder that the recipe gives, or from what shapes say.
 */
import { isOutputFile } from '../../checkpoints/containers/index.js'
import { isLicence } from '../../checkpoints/sidecarNames.js'
import type { Checkpoint, CheckpointModule } from '../../checkpoints/types.js'
import { parseJson } from '../../core/json/text.js'
import { quote } from '../../core/suggest.js'
import type { FormStorage, Settings } from '../../layouts/types.js'
import type { OutputSpec } from '../../recipe/types.js'
import { type Reading, someOf } from './convert.js'

type Wanted<Kind extends FormStorage['kind']> = Extract<FormStorage, { readonly kind: Kind }>

/** An output in a layout that has a place of its own. */
export interface Placing {
  readonly reading: Reading
  readonly output: OutputSpec
  /** `sd15/diffusers`. */
  readonly layout: string
}

/** Parts of a checkpoint that depend on where it is stored. */
const withoutFolder = ({
  modules: _modules,
  config: _config,
  configText: _text,
  newConfig: _new,
  given: _given,
  ...rest
}: Checkpoint): Checkpoint => ({ ...rest, sidecars: rest.sidecars.filter(isLicence) })

/** The model as the form is stored. Errors: `layout-config`. */
export function placed(placing: Placing, storage: FormStorage, model: Checkpoint): Checkpoint {
  const single = isOutputFile(placing.output.path)
  if (storage.kind === 'module') return single ? withoutFolder(model) : asModule(placing, storage, model)
  if (storage.kind === 'file') {
    if (!single) refuse(placing, 'is a single file', 'write a path that ends with .safetensors')
    return withoutFolder(model)
  }
  if (single) refuse(placing, 'is a folder with modules', 'write a folder: a path without .safetensors')
  return single || model.modules ? model : asModules(placing, storage, model)
}

const refuse = ({ reading, output, layout }: Placing, message: string, hint: string): void =>
  reading.faults.error('layout-config', `${layout} ${message}`, reading.recipe.placeOf([...output.at, 'path']), hint)

function asModule(placing: Placing, storage: Wanted<'module'>, model: Checkpoint): Checkpoint {
  const { module, said, config: published } = storage
  const { reading, layout } = placing
  const own = model.modules?.find(({ name }) => name === module)
  const given = givenConfig(placing, model, `${module}/config.json`) ?? givenConfig(placing, model, 'config.json')
  const found = own?.config
    ? { config: own.config, configText: own.configText! }
    : !model.modules && model.config
      ? { config: model.config, configText: model.configText! }
      : given
  const known = found ?? madeConfig(published?.(model.tensors) ?? 'shapes do not say all of it')
  if (typeof known === 'string') {
    refuse(
      placing,
      `needs a config.json, which terge can't derive: ${known}`,
      `give the model one: ${reading.name}: {path: …, config: FILE}, or write a single file`,
    )
    return model
  }
  checkShapes(placing, known.config, said(module, model.tensors, ''), layout)
  const stem = stemOf('diffusers')
  return { ...withoutFolder(model), ...known, newConfig: true, modules: [{ name: '', stem, ...known }] }
}

const madeConfig = (config: Settings | string) =>
  typeof config === 'string' ? config : { config, configText: `${JSON.stringify(config, null, 2)}\n` }

/** The stem of files of a library's modules. */
const stemOf = (library: unknown): string => (library === 'diffusers' ? 'diffusion_pytorch_model' : 'model')

/** A file of the folder that the recipe gives, as a mapping. Error: `layout-config` if it is none. */
function givenConfig(placing: Placing, { given }: Checkpoint, name: string) {
  const configText = given?.texts.get(name)
  if (configText === undefined) return undefined
  const config = mapping(configText)
  if (config) return { config, configText }
  refuse(placing, `needs ${name}, but that of ${given!.reference} is not a JSON object`, 'repair it')
  return undefined
}

function mapping(text: string): Settings | undefined {
  try {
    const value: unknown = parseJson(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Settings) : undefined
  } catch {
    return undefined
  }
}

/** Error `layout-config` if a configuration says other sizes than the tensors have. */
function checkShapes(placing: Placing, config: Settings, said: Settings, what: string): void {
  for (const [key, value] of Object.entries(said)) {
    if (!(key in config) || config[key] === null || JSON.stringify(config[key]) === JSON.stringify(value)) continue
    refuse(
      placing,
      `does not fit: ${key} of ${what} is ${JSON.stringify(config[key])} in its configuration, but the tensors say ${JSON.stringify(value)}`,
      'give the configuration of a model with the same sizes',
    )
    return
  }
}

/** Modules that pipelines run without. */
const OPTIONAL = ['safety_checker', 'image_encoder']

function asModules(placing: Placing, { modules: all, said }: Wanted<'modules'>, model: Checkpoint): Checkpoint {
  const { reading } = placing
  const present = all.filter((module) => [...model.tensors.keys()].some((name) => name.startsWith(`${module}.`)))
  const hint = `give the model a folder with them, such as the pipeline that it was trained from: ${reading.name}: {path: …, config: FOLDER}`
  const { given } = model
  const index = given && givenConfig(placing, model, 'model_index.json')
  if (!given || !index) {
    const files = ['model_index.json', ...present.map((module) => `${module}/config.json`), 'scheduler', 'tokenizer']
    refuse(placing, `needs small files that the model does not have: ${files.join(', ')}`, hint)
    return model
  }
  const listed = Object.entries(index.config).flatMap(([name, entry]) =>
    Array.isArray(entry) && typeof entry[1] === 'string' ? [name] : [],
  )
  const weighty = listed.filter((name) => given.texts.has(`${name}/config.json`))
  const unlisted = present.filter((name) => !weighty.includes(name))
  const empty = weighty.filter((name) => !present.includes(name))
  const needed = empty.filter((name) => !OPTIONAL.includes(name))
  const absent = listed.filter((name) => ![...given.texts.keys()].some((file) => file.startsWith(`${name}/`)))
  const [problem] = [
    ...unlisted.map((name) => `has tensors of ${name}, but ${given.reference} has no ${name}/config.json`),
    ...needed.map((name) => `has no tensors of ${name}, which the pipeline ${given.reference} has`),
    ...absent.map((name) => `needs files of ${name}, which ${given.reference} lacks`),
  ]
  if (problem !== undefined) {
    refuse(placing, problem, hint)
    return model
  }
  const modules = present.flatMap((name): CheckpointModule[] => {
    const found = givenConfig(placing, model, `${name}/config.json`)
    if (!found) return []
    checkShapes(placing, found.config, said(name, model.tensors, `${name}.`), name)
    return [{ name, stem: stemOf((index.config[name] as readonly unknown[])[0]), ...found }]
  })
  warnOfSkipped(placing, given.reference, given.skipped)
  const texts = new Map([...given.texts].filter(([file]) => !empty.some((name) => file.startsWith(`${name}/`))))
  if (empty.length > 0) texts.set('model_index.json', withoutModules(index.config, empty))
  return { ...withoutFolder(model), texts, modules }
}

const withoutModules = (index: Settings, empty: readonly string[]): string => {
  const changed = Object.fromEntries(
    Object.entries(index).map(([name, entry]) => {
      if (name === 'requires_safety_checker' && empty.includes('safety_checker')) return [name, false]
      return [name, empty.includes(name) ? [null, null] : entry]
    }),
  )
  return `${JSON.stringify(changed, null, 2)}\n`
}

function warnOfSkipped({ reading, output }: Placing, reference: string, skipped: readonly string[]): void {
  if (skipped.length === 0) return
  reading.faults.warn(
    'files-left-out',
    `terge does not copy files of ${quote(reference)} that are not text: ${someOf(skipped)}`,
    reading.recipe.placeOf([...output.at, 'path']),
    'copy them to the output yourself if the model needs them',
  )
}
