/** Encoders whose models are also stored without the prefix that their class with a head needs. */
import type { Facts, Family, Settings } from '../../types.js'

interface Prefixed {
  readonly name: string
  readonly title: string
  readonly types: readonly string[]
  readonly prefix: string
  /** The tensors, after the prefix. */
  readonly inside: readonly string[]
  /** A tensor that no other network without prefix has. */
  readonly sign: string
  /** Tensors that models without the prefix have no place for. */
  readonly only: readonly string[]
  /** The class without a head, by the one with it. */
  readonly classes: Readonly<Record<string, string>>
}

function withoutPrefix({ name, title, types, prefix, inside, sign, only, classes }: Prefixed): Family {
  const has = ({ shapes }: Facts, tensor: string): boolean => shapes.has(tensor)
  const plainConfig = (config: Settings): Settings | string => {
    if (typeof config.model_type === 'string' && !types.includes(config.model_type))
      return `a model of the type "${config.model_type}" has other parts, too, and needs the prefix ${prefix}`
    if (!Array.isArray(config.architectures)) return config
    const named = (config.architectures as readonly unknown[]).map(String)
    const unknown = named.find((one) => !Object.hasOwn(classes, one) && !Object.values(classes).includes(one))
    return unknown === undefined
      ? { ...config, architectures: named.map((one) => classes[one] ?? one) }
      : `${unknown} needs the prefix ${prefix}`
  }
  return {
    name,
    title,
    types,
    forms: [
      {
        name: 'prefixed',
        says: `${prefix}${inside[0]!.replace('{rest}', '*')}`,
        rules: inside.map((tensor) => ({ tensor: `${prefix}${tensor}`, is: tensor })),
        fits: (facts) => has(facts, `${prefix}${sign}`),
        only,
      },
      {
        name: 'plain',
        says: `without ${prefix}`,
        rules: [],
        fits: (facts) => has(facts, sign),
        config: plainConfig,
      },
    ],
  }
}

const toEncoder = (name: string, heads: readonly string[]): Record<string, string> =>
  Object.fromEntries(heads.map((head) => [`${name}${head}`, `${name}Model`]))

export const bert = withoutPrefix({
  name: 'bert',
  title: 'BERT',
  types: ['bert'],
  prefix: 'bert.',
  inside: ['embeddings.{rest}', 'encoder.{rest}', 'pooler.{rest}'],
  sign: 'embeddings.word_embeddings.weight',
  only: ['cls.{rest}', 'classifier.{wb}', 'qa_outputs.{wb}'],
  classes: {
    BertModel: 'BertModel',
    ...toEncoder('Bert', [
      ...['ForMaskedLM', 'ForPreTraining', 'ForNextSentencePrediction', 'LMHeadModel'],
      ...['ForSequenceClassification', 'ForTokenClassification', 'ForQuestionAnswering', 'ForMultipleChoice'],
    ]),
  },
})

/** Model types, by the beginning of the names of their classes. */
const ENCODERS = {
  ...{ CLIP: 'clip', CLIPSeg: 'clipseg', MetaClip2: 'metaclip_2' },
  ...{ Siglip: 'siglip', Siglip2: 'siglip2', XCLIP: 'xclip' },
}

export const clipText = withoutPrefix({
  name: 'clip-text',
  title: 'Text encoders of CLIP and SigLIP (Stable Diffusion)',
  types: Object.values(ENCODERS).map((type) => `${type}_text_model`),
  prefix: 'text_model.',
  inside: ['embeddings.{rest}', 'encoder.{rest}', 'final_layer_norm.{wb}', 'head.{wb}'],
  sign: 'embeddings.token_embedding.weight',
  only: ['text_projection.weight'],
  classes: Object.fromEntries(
    Object.keys(ENCODERS).map((name) => [`${name}TextModelWithProjection`, `${name}TextModel`]),
  ),
})

export const clipVision = withoutPrefix({
  name: 'clip-vision',
  title: 'Vision encoders of CLIP and SigLIP',
  types: [...Object.values(ENCODERS).map((type) => `${type}_vision_model`), 'mlcd_vision_model'],
  prefix: 'vision_model.',
  inside: ['embeddings.{rest}', 'encoder.{rest}', 'pre_layrnorm.{wb}', 'post_layernorm.{wb}', 'head.{rest}'],
  sign: 'embeddings.patch_embedding.weight',
  only: ['visual_projection.weight'],
  classes: {
    ...Object.fromEntries(
      Object.keys(ENCODERS).map((name) => [`${name}VisionModelWithProjection`, `${name}VisionModel`]),
    ),
    MLCDVisionModel: 'MLCDVisionModel',
  },
})
