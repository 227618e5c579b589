/** Which small files of a model's folder are copied beside its merged weights: those needed to load and use the result. */
import { ALL_EXTENSIONS, isIndex } from './containers/index.js'

const TOKENIZER_FILES =
  /^(tokenizer(_config)?\.json|(special_tokens_map|added_tokens|tekken|normalizer|entity_vocab|(target_)?vocab|vocab-(src|tgt)|vocabulary|encoder|alphabet)\.json|(merges|vocab|dict|emoji)\.txt|(tokenizer|tiktoken|spiece|spm|sentencepiece|sentencepiece\.bpe|sentence\.bpe)\.model|tokenizer\.model\.v\w+|(source|target)\.spm|(vocab|merges)\.bpe|bpe\.codes|[\w.-]+\.tiktoken|chat_template(_\w+)?\.(jinja|json)|additional_chat_templates\/[\w.-]+\.jinja)$/
const CONFIGURATIONS =
  /^(generation_config|(image_|video_)?(pre)?processor(_config)?|feature_extractor(_config)?|preprocessor_config|scheduler_config|model_index|modules|config_sentence_transformers|sentence_\w+_config|open_clip_config|quantize_config|quantization_config|hf_quant_config|adapter_config)\.json$/
const LICENCES = /^(licen[cs]es?|notice|copying|use_policy|acceptable_use_policy)([._-][\w.-]*)?$/i
const CODE = /^[\w-]+\.py$/
const CONFIG = 'config.json'

const WEIGHTS = new RegExp(`\\.(${ALL_EXTENSIONS})$`, 'i')

/** Common files that are not needed to load a model: files of a training run, of the folder itself, or of terge. */
const USUAL =
  /^\.|^readme|\.index(\.\w+)?\.json$|(^|\.)lineage\.json$|^(trainer_state|training_args|training_config|(all|train|eval|test|predict)_results|params|flax_model|tf_model)\.json$|^(optimizer|scheduler|scaler|rng_state|training_args|events\.out|latest|checklist|checksums|sha256sums|consolidated)\b|\.(md|rst|py|ipynb|sh|log|lock|ya?ml|toml|png|jpe?g|gif|svg|webp|pdf|html?|csv|tsv|parquet|jsonl|wav|mp3|mp4|zip|tar|gz|sha256|md5|sig)$/i

/** Whether a file with this name holds weights, in a format that terge reads or another one. */
export const isWeights = (name: string): boolean => WEIGHTS.test(name)

/** Files that belong to a tokenizer, chat templates included. */
export const isTokenizerFile = (name: string): boolean => TOKENIZER_FILES.test(name)

/** Whether this is Python code of a model, which transformers or diffusers run if the user trusts it. terge copies it and never runs it. */
export const isCode = (name: string): boolean => CODE.test(name)

/** Licences and notices: every copy must include them, but they do not affect the model. */
export const isLicence = (name: string): boolean => LICENCES.test(name) && !WEIGHTS.test(name) && !CODE.test(name)

/** Whether a file with this name is copied. Does not cover `config.json`; for code, `usesCode` decides. */
export const isSidecar = (name: string): boolean =>
  TOKENIZER_FILES.test(name) || CONFIGURATIONS.test(name) || isLicence(name) || CODE.test(name)

/** Whether a file that is not copied could matter to the user: it is unknown, and not one of the common files. */
export const mayMatter = (name: string): boolean =>
  name !== CONFIG && !isSidecar(name) && !WEIGHTS.test(name) && !USUAL.test(name)

/** The signature of a model in a folder. */
export const MODEL_SIG = 'model.sig'

/** Whether a file says where a model came from and under which license: its card, its lineage, its signature. It is never copied. */
export const isRecord = (name: string): boolean => name === 'README.md' || name === 'lineage.json' || name === MODEL_SIG

/** Whether a file on the hub is small and needed: config, tokenizer or index. */
export const isSmallFile = (name: string): boolean =>
  !WEIGHTS.test(name) && (name === CONFIG || isIndex(name) || isSidecar(name))
