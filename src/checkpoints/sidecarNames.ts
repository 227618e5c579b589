/** Which small files of a model's folder are copied beside its merged weights: those that loading and using the result takes. */
import { ALL_EXTENSIONS, isIndex } from './containers/index.js'

const TOKENIZER_FILES =
  /^(tokenizer(_config)?\.json|(special_tokens_map|added_tokens|tekken|normalizer|entity_vocab|(target_)?vocab|vocab-(src|tgt)|vocabulary|encoder|alphabet)\.json|(merges|vocab|dict|emoji)\.txt|(tokenizer|tiktoken|spiece|spm|sentencepiece|sentencepiece\.bpe|sentence\.bpe)\.model|tokenizer\.model\.v\w+|(source|target)\.spm|(vocab|merges)\.bpe|bpe\.codes|[\w.-]+\.tiktoken|chat_template(_\w+)?\.(jinja|json)|additional_chat_templates\/[\w.-]+\.jinja)$/
const CONFIGURATIONS =
  /^(generation_config|(image_|video_)?(pre)?processor(_config)?|feature_extractor(_config)?|preprocessor_config|scheduler_config|model_index|modules|config_sentence_transformers|sentence_\w+_config|open_clip_config|quantize_config|quantization_config|hf_quant_config|adapter_config)\.json$/
const LICENCES = /^(licen[cs]es?|notice|copying|use_policy|acceptable_use_policy)([._-][\w.-]*)?$/i
const CODE = /^[\w-]+\.py$/
const CONFIG = 'config.json'

const WEIGHTS = new RegExp(`\\.(${ALL_EXTENSIONS})$`, 'i')

/** What lies in many folders and says nothing that loading a model needs: of a training, of the folder itself, of terge. */
const USUAL =
  /^\.|^readme|\.index(\.\w+)?\.json$|(^|\.)lineage\.json$|^(trainer_state|training_args|training_config|(all|train|eval|test|predict)_results|params|flax_model|tf_model)\.json$|^(optimizer|scheduler|scaler|rng_state|training_args|events\.out|latest|checklist|checksums|consolidated)\b|\.(md|rst|py|ipynb|sh|log|lock|ya?ml|toml|png|jpe?g|gif|svg|webp|pdf|html?|csv|tsv|parquet|jsonl|wav|mp3|mp4|zip|tar|gz|sha256|md5)$/i

/** Whether a file of this name holds weights, of terge's formats or others. */
export const isWeights = (name: string): boolean => WEIGHTS.test(name)

/** Files that belong to a tokenizer, chat templates included. */
export const isTokenizerFile = (name: string): boolean => TOKENIZER_FILES.test(name)

/** Code of a model that transformers or diffusers run for users that trust it. terge copies it and never runs it. */
export const isCode = (name: string): boolean => CODE.test(name)

/** Licences and notices: wanted with every copy, and no part of what a model does. */
export const isLicence = (name: string): boolean => LICENCES.test(name) && !WEIGHTS.test(name) && !CODE.test(name)

/** Whether a file of this name, other than `config.json`, is copied. Of code this is decided by `usesCode`. */
export const isSidecar = (name: string): boolean =>
  TOKENIZER_FILES.test(name) || CONFIGURATIONS.test(name) || isLicence(name) || CODE.test(name)

/** Whether a file that is not copied may matter to somebody: unknown, and none of what usually lies in a folder. */
export const mayMatter = (name: string): boolean =>
  name !== CONFIG && !isSidecar(name) && !WEIGHTS.test(name) && !USUAL.test(name)

/** Whether a file of a folder on the hub is small and says something: config, tokenizer, index. */
export const isSmallFile = (name: string): boolean =>
  !WEIGHTS.test(name) && (name === CONFIG || isIndex(name) || isSidecar(name))
