/**
 * The recipe language as a JSON Schema, for editors and for the structure check (`structure.ts`). Two conventions
 * help to report errors. The branches of each `anyOf` differ in their JSON type, so that an error belongs to one
 * branch. A `title` is the expected form in words, for messages: "must be TITLE".
 */

import { SIZE_PATTERN } from '../core/sizes.js'
import { DTYPE_NAMES } from '../encodings/index.js'
import { evaluateSchema } from '../language/evaluate.js'
import { HUB, S3 } from '../language/names.js'
import {
  about,
  inEditors,
  listOf,
  needsAny,
  needsOne,
  object,
  ref,
  type Schema,
  several,
  text,
  textOrWord,
  when,
  without,
  word,
} from '../language/schemaParts.js'
import { QUANTIZERS } from '../methods/quantize.js'
import { KINDS, SHORT_KINDS } from '../steps/index.js'
import { withoutBase } from '../steps/merge/editorRules.js'
import { base } from '../steps/merge/schema.js'
import { templateNames } from '../tokenizers/templates.js'
import { layoutDefinitions, modelLayout, outputLayout } from './layouts/schema.js'
import { SMALLEST_SHARD } from './outputs.js'
import { searchDefinitions, searchSchema } from './search/schema.js'
import { tokenizer, tokenizerDefinitions } from './tokenizer/schema.js'

export type { Schema } from '../language/schemaParts.js'

const PATTERN_HELP =
  'A plain string is an exact name. * matches within one dotted part, ** across parts. /…/ is a regular expression (RE2 syntax) that matches anywhere in the name.'

const rename = object(
  { from: text(PATTERN_HELP), to: text('The new name.') },
  ['from', 'to'],
  'Renames the tensors that match a pattern.',
)

/** A path, a hub reference or an address in a store, whose form editors check. */
const placeText = (description: string): Schema =>
  inEditors(text(description), {
    pattern: `^(?!hf:|s3://)[\\s\\S]*\\S|${HUB.source.replace('^', '^hf:')}|${S3.source.replace('^', '^s3://')}`,
    errorMessage: 'Write hf:org/name or hf:org/name@revision for the hub, and s3://bucket/prefix for a store.',
  })

const modelMapping = inEditors(
  object(
    {
      path: placeText(
        'A .safetensors file, a PyTorch state dict, a model folder in the Hugging Face layout, a folder of a distributed checkpoint, or s3://bucket/prefix. A path with * names all checkpoints that match, in natural order.',
      ),
      hub: text('A Hugging Face repository: org/name.'),
      revision: {
        title: 'a revision',
        type: ['string', 'number'],
        description: 'A commit, branch or tag of the repository.',
      },
      sha256: {
        type: ['string', 'number'],
        pattern: '^[0-9a-fA-F]{64}$',
        title: '64 hexadecimal digits',
        description: 'The expected SHA-256 of the file.',
      },
      subfolder: text('A folder inside the repository or the model folder.'),
      lora: placeText(
        'An adapter to apply while the model is read: of PEFT (a folder, hf:org/name@revision, s3://bucket/prefix, or a file with its configuration beside it), or a single file of sd-scripts, LyCORIS, diffusers or ComfyUI.',
      ),
      lora_scale: { type: 'number', description: 'Multiplies the adapter. Default: 1.' },
      lora_include: {
        ...ref('patterns'),
        description: 'The tensors of the adapter to apply, by their stored names. Default: all.',
      },
      strip_prefix: text('A prefix to remove from every tensor name.'),
      rename: {
        ...listOf(ref('rename')),
        description: 'Renames tensors. The entries apply in order.',
      },
      statistics: text('A safetensors file with statistics for fisher or regmean.'),
      layout: modelLayout,
      config: text('A configuration in JSON, for a model that has none: such as a single file.'),
    },
    [],
    'A model with options.',
  ),
  {
    ...needsOne('Write either path or hub.', 'path', 'hub'),
    dependencies: { lora_scale: ['lora'], lora_include: ['lora'] },
  },
)

const dtype: Schema = {
  enum: Object.keys(DTYPE_NAMES),
  title: 'a dtype',
  description: 'The dtype of all floating-point tensors. Default: the dtype of each base tensor.',
}
const outputMapping = object(
  {
    path: text(
      'Relative to the recipe. A path that ends in .safetensors is one file, any other path is a folder. Or hf:org/name@branch, or s3://bucket/prefix.',
    ),
    from: text('The model or step to write. Default: the only step that no other step uses.'),
    dtype,
    quantize: {
      enum: [...QUANTIZERS],
      title: 'a kind of quantization',
      description:
        'How the matrices of linear layers are quantized: to FP8 with a scale per 128 × 128 block (fp8-block) or per row (fp8-channel). Default: they are not.',
    },
    layout: outputLayout,
    drop: {
      type: 'boolean',
      description: 'Whether to drop tensors that the layout has no place for. Default: false, which is an error.',
    },
    format: word(
      {
        peft: 'The format of PEFT: adapter_model.safetensors and adapter_config.json.',
        kohya: 'The format of sd-scripts: one file with lora_unet_… and lora_te_… names, and alpha as tensors.',
      },
      { description: 'For adapters: the format of the output. Default: peft.' },
    ),
    shard_size: several(
      'a size such as 5GB',
      'Maximum size of one file, such as 5GB or 512MiB.',
      inEditors(text('A size such as 5GB or 512MiB.'), {
        pattern: SIZE_PATTERN,
        errorMessage: `Write a size of at least ${SMALLEST_SHARD} bytes, such as 5GB or 512MiB.`,
        examples: ['5GB'],
      }),
      inEditors({ type: 'integer', minimum: 1 }, { minimum: SMALLEST_SHARD, description: 'Bytes.' }),
    ),
    metadata: {
      type: 'object',
      additionalProperties: { title: 'a string', type: 'string' },
      description: 'Strings for the metadata of the safetensors header.',
    },
    permutations: {
      type: 'boolean',
      description:
        'Whether to write the permutations of rebasin steps to PATH.permutations.safetensors. Default: false.',
    },
    checksums: {
      type: 'boolean',
      description:
        'Whether to write SHA256SUMS into the output folder, or NAME.sha256 next to a single file, for sha256sum -c. Default: false.',
    },
  },
  ['path'],
  'Where to write the result, and how.',
)

/** The kinds of steps. Each is a key of a step's mapping. */
export const STEP_KINDS: readonly string[] = KINDS.flatMap(({ kind, inner }) => (inner ? [] : [kind]))

/** The kinds that are allowed at the top level of a recipe. */
const shortForms = (): Schema =>
  Object.fromEntries(
    SHORT_KINDS.map(({ kind, short }) => [
      kind,
      short.list
        ? several('a mapping or a list of mappings', short.list.describe, ref(kind), listOf(ref(kind)))
        : ref(kind),
    ]),
  )

/** `checked`: without the parts that the readers of steps check themselves. */
const stepDefinitions = (checked: boolean): Schema => {
  const definitions = KINDS.filter(({ inner }) => !inner).flatMap(({ kind, schema, definitions = {} }) => [
    [kind, schema] as const,
    ...Object.entries(definitions),
  ])
  const own = new Set(checked ? KINDS.flatMap(({ checkedByReader = [] }) => checkedByReader) : [])
  return Object.fromEntries(definitions.map(([name, schema]) => [name, own.has(name) ? { type: 'object' } : schema]))
}

const step: Schema = inEditors(
  {
    ...object(
      Object.fromEntries(STEP_KINDS.map((kind) => [kind, ref(kind)])),
      [],
      'One step. Its only key is the kind of step.',
    ),
    minProperties: 1,
    maxProperties: 1,
  },
  { minProperties: undefined, maxProperties: undefined, ...needsOne('A step has exactly one kind.', ...STEP_KINDS) },
)
const named = (schema: Schema): Schema => ({ type: 'object', additionalProperties: schema })

/** The schema for the structure check. Readers of steps check the rest, with better messages. */
export const checkedSchema = (): Schema => recipeSchema(true)

const SHORT = SHORT_KINDS.flatMap(({ kind, inner }) => (inner ? [] : [kind]))
const REPAIRS_WHAT: Schema = { required: ['model'], errorMessage: 'Write model: NAME, the merge step to repair.' }

/** What readers check for the whole recipe. */
const wholeRecipe: Schema = {
  required: undefined,
  allOf: [
    { required: ['terge', 'models'] },
    needsOne('Write either output or outputs.', 'outputs', 'output'),
    // Outputs can also be models, in another layout or dtype.
    when(
      {
        not: {
          anyOf: [
            { required: ['outputs'] },
            { required: ['output'], ...about({ output: { type: 'object', required: ['from'] } }) },
          ],
        },
      },
      needsAny('The recipe has no step: write merge or steps.', 'merge', 'steps', ...SHORT),
    ),
    when(
      { not: { required: ['base'] } },
      about({ merge: withoutBase, steps: { additionalProperties: about({ merge: withoutBase }) } }),
    ),
    when(
      { required: ['steps'] },
      { ...without(...SHORT), errorMessage: 'This is the short form of a step: move it into steps.' },
    ),
    ...['base', 'filters'].map((key) =>
      when(
        { required: [key] },
        about({ merge: { ...without(key), errorMessage: `${key} is set both in the recipe and in merge.` } }),
      ),
    ),
    when({ required: ['repair'], not: { required: ['merge'] } }, about({ repair: REPAIRS_WHAT })),
  ],
}

/** `checked`: for the structure check. */
export const recipeSchema = (checked = false): Schema => ({
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'terge recipe, version 1',
  ...inEditors(
    object(
      {
        terge: { const: 1, description: 'The version of the recipe language: 1.' },
        models: {
          ...named(ref('model')),
          minProperties: 1,
          description: 'The models by name. The rest of the recipe uses these names.',
        },
        base,
        filters: ref('filters'),
        ...shortForms(),
        steps: {
          ...named(ref('step')),
          minProperties: 1,
          description: 'The long form: named steps that can use each other.',
        },
        compute: { enum: ['float32', 'float64'], description: 'The precision of the arithmetic. Default: float32.' },
        seed: ref('seed'),
        tokenizer,
        chat_template: textOrWord(
          'The name of a model, the name of a known template, or a Jinja template. Default: the template of the base.',
          Object.fromEntries(templateNames().map((name) => [name, `The chat template ${name}.`])),
        ),
        output: several(
          'a path or a mapping',
          'Where to write the result.',
          text('A path, hf:org/name@branch, or s3://bucket/prefix.'),
          ref('output'),
        ),
        outputs: { ...listOf(ref('output')), description: 'Where to write several results.' },
        evaluate: ref('evaluate'),
        search: searchSchema,
      },
      ['terge', 'models'],
      'A merge of neural-network checkpoints.',
    ),
    wholeRecipe,
  ),
  $defs: {
    model: several(
      'a path, a hub reference, or a mapping',
      'A path, hf:org/name@revision, s3://bucket/prefix, or a mapping with path or hub.',
      placeText(
        'A path relative to the recipe, hf:org/name@revision, or s3://bucket/prefix. A path with * names all checkpoints that match, in natural order.',
      ),
      modelMapping,
    ),
    patterns: several('a pattern or a list of patterns', PATTERN_HELP, text(PATTERN_HELP), listOf(text(PATTERN_HELP))),
    filters: object(
      { include: ref('patterns'), exclude: ref('patterns') },
      [],
      'Which tensors to merge: include first, then exclude. All others are copied from the base.',
    ),
    gradient: several(
      'a number or a list of numbers',
      'A number, a list that is spread evenly over the layers of the base, or mbw: numbers per block of a UNet.',
      { type: 'number' },
      listOf({ type: 'number' }),
      ref('blocks'),
    ),
    seed: {
      type: 'integer',
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      title: 'a non-negative integer',
      description: 'The seed of all random choices. Default: 0.',
    },
    ...stepDefinitions(checked),
    step,
    ...tokenizerDefinitions,
    rename,
    ...layoutDefinitions,
    evaluate: evaluateSchema,
    ...searchDefinitions,
    output: outputMapping,
  },
})
