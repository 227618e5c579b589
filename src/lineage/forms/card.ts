/** The model card of an output folder: its models, how they were merged, and the recipe. */
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import type { ModelSource } from '../../language/types.js'
import { kindOf, type StepRecord } from '../../steps/index.js'
import { commonLicense, termsText } from '../history/terms.js'
import { layoutText } from '../layouts.js'
import type { LineageFrame } from '../serialize.js'
import type { License, LineageModel } from '../types.js'
import { modelsOfOutput, repositoryOf } from './standard/identity.js'

/** What a card needs to know about the lineage file next to it. */
export interface Written {
  /** `sha256:…` of the lineage file. */
  readonly digest: string
  /** Methods of all tensors. */
  readonly methods: ReadonlySet<string>
  /** Whether some of its weights were quantized. */
  readonly quantized: boolean
  /** Inputs that are not models themselves: adapters that were applied, and files of statistics. */
  readonly companions: ReadonlyMap<string, 'lora' | 'statistics' | 'measured'>
}

/** The companions among the models of a recipe. */
export const companionsOf = (models: Iterable<Pick<ModelSource, 'name' | 'companion'>>): Written['companions'] =>
  new Map([...models].flatMap(({ name, companion }) => (companion ? [[name, companion] as const] : [])))

/** The card as Markdown, with a line feed at its end. `name`: the name of the output folder. */
export function modelCard(lineage: LineageFrame, written: Written, name: string): string {
  const { digest } = written
  const models = modelsOfOutput(lineage)
  const methods = [...written.methods].filter((one) => one !== 'copy').sort()
  const step = lineage.steps[lineage.output.from]
  const extracted = step && step.kind !== 'tokenizer' ? kindOf(step).adapter : undefined
  const said = Object.entries(lineage.steps).flatMap(([name, record]) => {
    const card = record.kind === 'tokenizer' ? undefined : kindOf(record).card?.(record, plain)
    return card ? [{ ...card, last: name === lineage.output.from }] : []
  })
  const tags = said.filter(({ last }) => last).flatMap(({ tags }) => tags)
  const front = frontMatter(lineage, written, models, tags, extracted && { base: extracted.base(step as StepRecord) })
  const isLicensed = models.some(([, { license }]) => license)
  const isQuantized = models.some(([, { quantized }]) => quantized)
  const isRead = models.some(([, { readAs }]) => readAs)
  const rows = models.map(([model, { reference, revision, files, quantized, license, ...layouts }]) => {
    const size = files.reduce((sum, file) => sum + file.size, 0)
    const weights = isQuantized ? ` ${plain(quantized?.join('; ') ?? '')} |` : ''
    return `| ${plain(model)} | ${plain(reference)} | ${plain(revision ?? '')} | ${files.length} | ${size} |${weights}${isRead ? ` ${plain(layoutText(layouts))} |` : ''}${isLicensed ? ` ${plain(termsText(license))} |` : ''}`
  })
  const recipe = lineage.recipe.text.replace(/\n*$/, '\n')
  const fence = '`'.repeat(Math.max(3, ...[...recipe.matchAll(/`+/g)].map(([run]) => run.length + 1)))
  const set = lineage.recipe.set.map((value) => `\`--set ${value}\``)
  return `${[
    '---',
    ...front,
    '---',
    '',
    `# ${plain(name)}`,
    '',
    extracted
      ? `A low-rank adapter, extracted with terge ${lineage.terge}. ${extracted.sentence(step as StepRecord, plain)}`
      : `Merged with terge ${lineage.terge}${methods.length > 0 ? `: ${methods.map(plain).join(', ')}` : ''}.`,
    '',
    ...said.flatMap(({ lines }) => [...lines, '']),
    `| model | reference | revision | files | bytes |${isQuantized ? ' quantized weights |' : ''}${isRead ? ' layout |' : ''}${isLicensed ? ' license |' : ''}`,
    `|---|---|---|---|---|${isQuantized ? '---|' : ''}${isRead ? '---|' : ''}${isLicensed ? '---|' : ''}`,
    ...rows,
    '',
    `Recipe${set.length > 0 ? `, run with ${set.join(', ')}` : ''}:`,
    '',
    `${fence}yaml`,
    `${recipe}${fence}`,
    '',
    '`lineage.json` records how each tensor was made:',
    '',
    `- lineage: \`${digest}\``,
    `- plan: \`${lineage.plan.digest}\``,
    ...(lineage.output.digest === null ? [] : [`- output: \`${lineage.output.digest}\``]),
  ].join('\n')}\n`
}

type Models = readonly (readonly [name: string, model: LineageModel])[]

/** The front matter of the card, as the hub reads it. `extracted`: for extracted adapters, the base model. */
function frontMatter(
  lineage: LineageFrame,
  written: Written,
  models: Models,
  more: readonly string[],
  extracted: { readonly base: string } | undefined,
): string[] {
  const library = libraryOf(lineage)
  const whole = models.filter(([name]) => !written.companions.has(name))
  const bases = extracted ? models.filter(([name]) => name === extracted.base) : whole
  const published = [...new Set(bases.flatMap(([, model]) => repositoryOf(model) ?? []))]
  const relation = extracted ? 'adapter' : relationOf(whole, models, written, lineage.steps)
  return [
    `library_name: ${library}`,
    `tags: [${[...(library === 'peft' ? ['lora'] : []), ...(extracted ? [] : ['merge']), ...more, 'terge'].join(', ')}]`,
    // The hub accepts only repositories here. The table below also has local models.
    ...(published.length > 0
      ? [
          'base_model:',
          ...published.map((one) => `  - ${JSON.stringify(one)}`),
          ...(relation === undefined ? [] : [`base_model_relation: ${relation}`]),
        ]
      : []),
    ...licenseLines(commonLicense(models.filter(([name]) => (written.companions.get(name) ?? 'lora') === 'lora'))),
  ]
}

/** What a model is to its base models, in the hub's words; undefined where it has none. */
function relationOf(
  whole: Models,
  models: Models,
  { methods, quantized }: Written,
  steps: LineageFrame['steps'],
): string | undefined {
  if (whole.length > 1) return 'merge'
  if (models.length > whole.length && [...methods].some((method) => method !== 'copy')) return 'finetune'
  if (quantized) return 'quantized'
  // Layers of one model on top of each other.
  return Object.values(steps).some(({ kind }) => kind === 'stack') ? 'merge' : undefined
}

/** The license that all inputs have. */
function licenseLines(license: License | undefined): string[] {
  if (license === undefined) return []
  const { id = 'other', name, link } = license
  const facts = id === 'other' ? { license_name: name, license_link: link } : {}
  const lines = Object.entries(facts).flatMap(([key, text]) =>
    text === undefined ? [] : [`${key}: ${JSON.stringify(text)}`],
  )
  return [`license: ${JSON.stringify(id)}`, ...lines]
}

/** The Python library that loads such a folder, by the files in it. */
function libraryOf({ output: { files } }: LineageFrame): string {
  const has = (name: string): boolean => files.some((file) => file.name === name)
  if (has(ADAPTER_CONFIG)) return 'peft'
  return has('model_index.json') ? 'diffusers' : has('modules.json') ? 'sentence-transformers' : 'transformers'
}

/** Escapes Markdown in names, which come from untrusted models. */
const plain = (text: string): string =>
  text.replace(/[\\`*_{}[\]<>#|!\r\n]/g, (mark) => (/\s/.test(mark) ? ' ' : `\\${mark}`))
