/** The model card of an output folder: its models, how they were merged, and the recipe. */
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import { kindOf, type StepRecord } from '../../steps/index.js'
import { layoutText } from '../layouts.js'
import type { LineageFrame } from '../serialize.js'

/** What a card needs to know about the lineage file next to it. */
export interface Written {
  /** `sha256:…` of the lineage file. */
  readonly digest: string
  /** Methods of all tensors. */
  readonly methods: ReadonlySet<string>
}

/** The card as Markdown, with a line feed at its end. `name`: the name of the output folder. */
export function modelCard(lineage: LineageFrame, { digest, methods: all }: Written, name: string): string {
  const models = Object.entries(lineage.models).sort(([, a], [, b]) => a.index - b.index)
  const methods = [...all].filter((one) => one !== 'copy').sort()
  const step = lineage.steps[lineage.output.from]
  const extracted = step && step.kind !== 'tokenizer' ? kindOf(step).adapter : undefined
  const library = libraryOf(lineage)
  const bases = extracted ? models.filter(([name]) => name === extracted.base(step as StepRecord)) : models
  const published = [...new Set(bases.flatMap(([, { reference }]) => /^hf:([^@]+)/.exec(reference)?.[1] ?? []))]
  const front = [
    `library_name: ${library}`,
    `tags: [${[...(library === 'peft' ? ['lora'] : []), ...(extracted ? [] : ['merge']), 'terge'].join(', ')}]`,
    // The hub accepts only repositories here. The table below also has local models.
    ...(published.length > 0 ? ['base_model:', ...published.map((one) => `  - ${JSON.stringify(one)}`)] : []),
  ]
  const isQuantized = models.some(([, { quantized }]) => quantized)
  const isRead = models.some(([, { readAs }]) => readAs)
  const rows = models.map(([model, { reference, revision, files, quantized, ...layouts }]) => {
    const size = files.reduce((sum, file) => sum + file.size, 0)
    const weights = isQuantized ? ` ${plain(quantized?.join('; ') ?? '')} |` : ''
    return `| ${plain(model)} | ${plain(reference)} | ${plain(revision ?? '')} | ${files.length} | ${size} |${weights}${isRead ? ` ${plain(layoutText(layouts))} |` : ''}`
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
    `| model | reference | revision | files | bytes |${isQuantized ? ' quantized weights |' : ''}${isRead ? ' layout |' : ''}`,
    `|---|---|---|---|---|${isQuantized ? '---|' : ''}${isRead ? '---|' : ''}`,
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

/** The Python library that loads such a folder, by the files in it. */
function libraryOf({ output: { files } }: LineageFrame): string {
  const has = (name: string): boolean => files.some((file) => file.name === name)
  if (has(ADAPTER_CONFIG)) return 'peft'
  return has('model_index.json') ? 'diffusers' : has('modules.json') ? 'sentence-transformers' : 'transformers'
}

/** Escapes Markdown in names, which come from untrusted models. */
const plain = (text: string): string =>
  text.replace(/[\\`*_{}[\]<>#|!\r\n]/g, (mark) => (/\s/.test(mark) ? ' ' : `\\${mark}`))
