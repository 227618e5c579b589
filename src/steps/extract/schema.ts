import {
  energy,
  inEditors,
  listOf,
  needsOne,
  object,
  ref,
  type Schema,
  several,
  text,
  word,
} from '../../language/schemaParts.js'

const SOLVER: Schema = {
  method: word(
    {
      auto: 'exact for matrices with a side of at most 512, randomised for larger ones.',
      exact: 'The decomposition of the whole matrix.',
      randomised: 'A decomposition by random projections. Its error is within 1 % of the smallest possible one.',
    },
    { description: 'How to compute singular vectors. Default: auto, which is exact for small matrices.' },
  ),
  oversampling: {
    type: 'integer',
    minimum: 0,
    title: 'a non-negative integer',
    description: 'For the randomised method: columns beyond the rank. Default: 16.',
  },
  iterations: {
    type: 'integer',
    minimum: 1,
    maximum: 100,
    title: 'an integer from 1 to 100',
    description: 'For the randomised method: power iterations. Default: 4.',
  },
}

const NAMES = word(
  {
    'transformers-5':
      'Modules have the names of the network in the memory of transformers 5, which are not always those of the files.',
    stored: 'Modules have the names of the files, as in transformers 4.',
  },
  { description: 'Whose names the modules of the adapter have. Default: transformers-5.' },
)

const WHOLE =
  'true saves norms and layers of unsupported kinds in full. A list of modules, such as [lm_head], saves those in full, whatever their kind: patterns, or ends of names as in PEFT. Default: false, which skips tensors without a low-rank form.'

/** Definitions that `extract` refers to. */
export const definitions: Readonly<Record<string, Schema>> = {
  lora: object(
    {
      from: text('The fine-tuned model: a model or a step.'),
      base: text('The base model of the adapter: a model or a step.'),
      rank: {
        type: 'integer',
        minimum: 1,
        title: 'a positive integer',
        description:
          'The rank of the adapter. A matrix with a shorter side gets that side as its rank. Required without energy and sv_epsilon.',
      },
      energy: energy(
        'The rank of each layer is the smallest one that explains this share of its squared difference, such as 0.95. With rank, it is at most that.',
      ),
      sv_epsilon: {
        type: 'number',
        minimum: 0,
        title: 'a number of at least 0',
        description:
          'Cuts singular values up to this one, such as 0.001. A layer with none left is not in the adapter. With rank or energy, the smaller rank counts.',
      },
      alpha: {
        type: 'number',
        minimum: 0.000001,
        title: 'a number above 0',
        description: 'lora_alpha: PEFT scales the adapter by alpha/rank. Default: the rank, so that the scale is 1.',
      },
      include: ref('patterns'),
      exclude: ref('patterns'),
      modules_to_save: several(
        'true, false, or a list of modules',
        WHOLE,
        { type: 'boolean', description: WHOLE },
        text(WHOLE),
        listOf(text(WHOLE)),
      ),
      lora_bias: {
        type: 'boolean',
        description:
          'Whether to save biases of adapted layers: their changes (lora_bias, PEFT 0.14 and later) if every adapted layer has a bias, otherwise the biases themselves (bias: lora_only). Default: false.',
      },
      names: NAMES,
      ...SOLVER,
    },
    ['from', 'base'],
    'Settings of the low-rank adapter in the PEFT format.',
  ),
  lokr: object(
    {
      from: text('The fine-tuned model: a model of the recipe.'),
      base: text('The base model of the adapter: a model of the recipe.'),
      factor: {
        type: 'integer',
        minimum: -1,
        title: 'an integer',
        description:
          'decompose_factor: the first factor of each side. -1 chooses factors near the square root, as PEFT does. Default: -1.',
      },
      include: ref('patterns'),
      exclude: ref('patterns'),
      names: NAMES,
      ...SOLVER,
    },
    ['from', 'base'],
    'Settings of the LoKr adapter in the PEFT format: each difference as the best Kronecker product.',
  ),
}

/** `extract`: a step of `steps`. */
export const extract = inEditors(
  object(
    { lora: ref('lora'), lokr: ref('lokr') },
    [],
    'Extracts an adapter from the difference of two models: LoRA or LoKr.',
  ),
  needsOne('Write either lora or lokr.', 'lora', 'lokr'),
)
