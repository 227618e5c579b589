/** A model without its data (`Checkpoint`), and an output before its data are written (`OutputLayout`). */
import type { Diagnostic } from '../core/diagnostics.js'
import type { Dtype } from '../core/dtypes.js'
import type { Quantized } from '../quantization/index.js'
import type { Refusal } from '../quantization/types.js'
import type { View } from '../views/types.js'
import type { ContainerTensor } from './containers/types.js'

/** One tensor as a checkpoint file stores it. */
export interface StoredTensor extends ContainerTensor {
  /** Index into `Checkpoint.files`. */
  readonly file: number
}

/** A tensor of a model, independent of how it is stored. */
export interface LogicalTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Its files are indices into `Checkpoint.files`. */
  readonly view: View
  /** How it is quantized, if it is: `FP8, 128 × 128 blocks`. */
  readonly format?: string
}

export interface CheckpointFile {
  /** Path relative to the checkpoint's folder, with `/`. Lineages show this name. */
  readonly name: string
  /** Absolute. Never leaves the machine: it is not in plan digests or lineages. */
  readonly path: string
  readonly size: number
  /** Bytes before the tensor data. */
  readonly headerBytes: number
  /** `sha256:…` of those bytes. */
  readonly headerDigest: string
  /** Of an object in a store, without quotation marks. */
  readonly etag?: string
}

/** Why weights can't be computed with, and the tensor that it is about. */
export interface QuantizationRefusal {
  readonly code: Refusal['code']
  readonly message: string
  readonly hint: string
  readonly tensor?: string
}

/** A part of a model in a folder of its own. */
export interface CheckpointModule {
  /** Name of its folder; empty for the model's own folder. */
  readonly name: string
  /** Stem of its file names: `model` or `diffusion_pytorch_model`. */
  readonly stem: string
  readonly config?: Readonly<Record<string, unknown>>
  /** The text of that file. It is edited in place (`changeJson`), so that unchanged parts keep their bytes. */
  readonly configText?: string
}

/** The absolute path of the folder with a model's configuration and small files. */
export const smallFolderOf = ({ path, smallFolder }: Pick<Checkpoint, 'path' | 'smallFolder'>): string =>
  smallFolder ?? path

/** A file of `config` of a model in the recipe. */
export interface ConfigFile {
  /** As the user wrote it; of a file in a folder, with the name after it. */
  readonly file: string
  readonly path: string
  /** `sha256:` and 64 hexadecimal digits. */
  readonly sha256: string
}

/** Small files of a folder that the recipe gives for a model without them. */
export interface GivenFiles {
  /** As the user wrote it. */
  readonly reference: string
  /** Texts by name, relative to the folder. */
  readonly texts: ReadonlyMap<string, string>
  /** Files that are not text. They are not copied. */
  readonly skipped: readonly string[]
}

/** A model's headers: everything that planning needs, without tensor data. */
export interface Checkpoint {
  /** As the user wrote it. */
  readonly reference: string
  /** Whether it is a single file, or a folder with files next to the weights. */
  readonly layout: 'file' | 'folder'
  /** The commit of a model on the hub; for one in a store, a digest of the names, sizes and ETags of its objects. */
  readonly revision?: string
  /** Absolute path of the file or folder. */
  readonly path: string
  /** The files with tensors, with their sizes in bytes. */
  readonly files: readonly CheckpointFile[]
  /** The stored tensors by name, sorted by name (code units). */
  readonly stored: ReadonlyMap<string, StoredTensor>
  /** The model's tensors in the same order: views of the stored ones. */
  readonly tensors: ReadonlyMap<string, LogicalTensor>
  /** `__metadata__`. For a sharded checkpoint, that of its first file. */
  readonly metadata: Readonly<Record<string, string>>
  /** `config.json`, if there is one and it is an object. */
  readonly config?: Readonly<Record<string, unknown>>
  /** The text of that file. It is edited in place (`changeJson`), so that unchanged parts keep their bytes. */
  readonly configText?: string
  /** `config` was changed while planning, or comes from another file: outputs get `configText`, not a copy of the file. */
  readonly newConfig?: true
  /** Modules of a pipeline, each in a folder of its own. */
  readonly modules?: readonly CheckpointModule[]
  /** `adapter_config.json` of a PEFT adapter, if there is one and it is an object. */
  readonly adapter?: Readonly<Record<string, unknown>>
  /** The bytes of that file. */
  readonly adapterFile?: Uint8Array
  /** Numbers that an adapter stores as tensors of one element, by stored name. */
  readonly alphas?: ReadonlyMap<string, number>
  /** Digests of an adapter's DoRA norms and of its copies of base weights, by stored name. */
  readonly norms?: ReadonlyMap<string, string>
  /** Files that the recipe gives for a model without them. */
  readonly given?: GivenFiles
  /** The files that the recipe's `config` of this model means. */
  readonly configFiles?: readonly ConfigFile[]
  /** Small files of an output that no model's folder has, by name. */
  readonly texts?: ReadonlyMap<string, string>
  /** Other small files of a hub-style folder (tokenizer, generation config, …), relative to it. Includes each module's `config.json`, but not the folder's own. */
  readonly sidecars: readonly string[]
  /** Weights that are quantized. They are among `tensors` as in an unquantized model. */
  readonly quantized?: Quantized
  /** Why terge can't compute with weights that are quantized. `tensors` has the stored ones. */
  readonly refusal?: QuantizationRefusal
  /** Warnings about how it was read. */
  readonly warnings?: readonly Diagnostic[]
  /** Absolute path of the folder with configuration and small files, if it is not the folder itself. */
  readonly smallFolder?: string
  /** Entries that are not tensors of the model, as texts for people: `'optim' (36 entries)`. */
  readonly skipped?: readonly string[]
  /** Other files of the folder, which terge does not copy but could matter to the user. */
  readonly leftOut?: readonly string[]
}

/** A tensor of an output. */
export interface TensorSpec {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
}

/** A tensor of an output with its place in a file. */
export interface PlacedTensor extends TensorSpec {
  /** Index into `OutputLayout.files`. */
  readonly file: number
  /** In bytes from the start of that file. */
  readonly offset: number
  readonly bytes: number
}

/** An output before its data are written: file names, whole headers, and the place of each tensor. */
export interface OutputLayout {
  readonly files: readonly {
    readonly name: string
    readonly size: number
    /** The text of its header, as the container writes it. Tensor data follow. */
    readonly header: string
  }[]
  readonly tensors: readonly PlacedTensor[]
  /** Indexes of sharded outputs, one per module. */
  readonly indexes: readonly { readonly name: string; readonly text: string }[]
}
