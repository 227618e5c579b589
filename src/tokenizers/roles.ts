/** Which tokens are special, and for what. */
import { isObject } from '../core/json/text.js'
import { specialFiles } from './read.js'
import type { TokenizerFiles } from './types.js'

/** If a token has several roles, the first counts. */
export const ROLES = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'] as const

export type SpecialRole = (typeof ROLES)[number]

/** The text of the token of each role that a tokenizer has. */
export type SpecialTokens = ReadonlyMap<SpecialRole, string>

type Defaults = Readonly<Partial<Record<SpecialRole, string>>>

const GPT2: Defaults = { bos: '<|endoftext|>', eos: '<|endoftext|>', unk: '<|endoftext|>' }
const LLAMA: Defaults = { bos: '<s>', eos: '</s>', unk: '<unk>' }
const MASKED: Defaults = { sep: '[SEP]', cls: '[CLS]', mask: '[MASK]' }
const BERT: Defaults = { ...MASKED, unk: '[UNK]', pad: '[PAD]' }
const ROBERTA: Defaults = { ...LLAMA, sep: '</s>', pad: '<pad>', cls: '<s>', mask: '<mask>' }

/** What classes of transformers use if the files of a tokenizer do not say it, and the types of models that have these classes. */
const DEFAULTS: readonly { readonly classes: RegExp; readonly types: RegExp; readonly tokens: Defaults }[] = [
  {
    classes: /^(GPT2|CodeGen|Whisper)Tokenizer/,
    types: /^(codegen|dbrx|gpt2|gpt_neo|gptj|opt|phi|starcoder2|whisper)$/,
    tokens: GPT2,
  },
  {
    classes: /^GPTNeoXTokenizer/,
    types: /^(gpt_neox|falcon_mamba|mamba2?|mpt|olmo|olmoe|rwkv)$/,
    tokens: { ...GPT2, pad: '<|padding|>' },
  },
  {
    classes: /^Qwen[\d_]*Tokenizer/,
    types: /^qwen[23]/,
    tokens: { eos: '<|endoftext|>', unk: '<|endoftext|>', pad: '<|endoftext|>' },
  },
  {
    classes: /^CLIPTokenizer/,
    types: /^clip$/,
    tokens: { ...GPT2, bos: '<|startoftext|>', pad: '<|endoftext|>' },
  },
  { classes: /^(Code)?LlamaTokenizer/, types: /^(code_llama|idefics2?)$/, tokens: LLAMA },
  {
    classes: /^GemmaTokenizer/,
    types: /^(gemma|recurrent_gemma|t5gemma)/,
    tokens: { bos: '<bos>', eos: '<eos>', unk: '<unk>', pad: '<pad>', mask: '<mask>' },
  },
  {
    classes: /^CohereTokenizer/,
    types: /^cohere2?$/,
    tokens: {
      ...{ bos: '<BOS_TOKEN>', eos: '<|END_OF_TURN_TOKEN|>', unk: '<UNK>', sep: '<SEP>', pad: '<PAD>' },
      ...{ cls: '<CLS>', mask: '<MASK_TOKEN>' },
    },
  },
  {
    classes: /^(Bert|DistilBert|Electra|ConvBert|MobileBert|Lxmert|RoFormer|LayoutLM|LayoutLMv2|SqueezeBert)Tokenizer/,
    types: /^(bert|convbert|distilbert|electra|ernie|layoutlm|megatron-bert|mobilebert|nomic_bert|squeezebert)$/,
    tokens: BERT,
  },
  {
    classes: /^(Roberta|Bart|Barthez|Camembert|XLMRoberta|MBart|Nllb|LED|Longformer|Luke|Mvp|Blenderbot)Tokenizer/,
    types:
      /^(barthez|bart|blenderbot|camembert|led|longformer|luke|mbart|mvp|nllb|nllb-moe|roberta|roberta-prelayernorm|xlm-roberta|xmod)$/,
    tokens: ROBERTA,
  },
  {
    classes: /^(T5|Marian)Tokenizer/,
    types: /^(marian|mt5|switch_transformers|t5)$/,
    tokens: { eos: '</s>', unk: '<unk>', pad: '<pad>' },
  },
  {
    classes: /^(Albert|FNet|RemBert)Tokenizer/,
    types: /^(albert|fnet|rembert)$/,
    tokens: { ...MASKED, bos: '[CLS]', eos: '[SEP]', unk: '<unk>', pad: '<pad>' },
  },
  {
    classes: /^Deberta(V2)?Tokenizer/,
    types: /^deberta(-v2)?$/,
    tokens: { ...BERT, bos: '[CLS]', eos: '[SEP]' },
  },
  {
    classes: /^MPNetTokenizer/,
    types: /^mpnet$/,
    tokens: { ...ROBERTA, unk: '[UNK]' },
  },
  {
    classes: /^(XLNet|Cpm|Funnel)Tokenizer/,
    types: /^(cpm|funnel|xlnet)$/,
    tokens: { ...LLAMA, sep: '<sep>', pad: '<pad>', cls: '<cls>', mask: '<mask>' },
  },
]

/**
 * As transformers reads them, from both files. What neither mentions is that of the class, or of the model's type if there is no
 * class.
 */
export function specialTokens(files: TokenizerFiles, shown: string, type: unknown): SpecialTokens {
  const [older, config] = specialFiles(files, shown)
  const { tokenizer_class: named } = config
  const own = DEFAULTS.find(({ classes, types }) =>
    typeof named === 'string' ? classes.test(named) : types.test(String(type)),
  )
  const tokens = new Map<SpecialRole, string>()
  for (const role of ROLES) {
    const key = `${role}_token`
    const stated = [older, config].find((file) => Object.hasOwn(file, key))
    const value = stated ? stated[key] : own?.tokens[role]
    const content = isObject(value) ? value.content : value
    if (typeof content === 'string' && content !== '') tokens.set(role, content)
  }
  return tokens
}
