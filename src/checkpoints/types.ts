/** What is known of a model without its data (`Checkpoint`), and of an output before its data (`OutputLayout`). */
import type { Diagnostic } from '../core/diagnostics.js'
import type { Dtype } from '../core/dtypes.js'
import type { View } from '../views/types.js'
import type { ContainerTensor } from './containers/types.js'

/** One tensor as it lies in a checkpoint's file. */
export interface StoredTensor extends ContainerTensor {
  /** Index into `Checkpoint.files`. */
  readonly file: number
}

/** A tensor of a model, however it is stored. */
export interface LogicalTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Files are indexes into `Checkpoint.files`. */
  readonly view: View
}

export interface CheckpointFile {
  /** Relative to the checkpoint's folder, `/` between parts: the name that lineage shows. */
  readonly name: string
  /** Absolute. Never leaves the machine: not in plan digest or lineage. */
  readonly path: string
  readonly size: number
  /** Bytes before the tensor data. */
  readonly headerBytes: number
  /** `sha256:…` of those bytes. */
  readonly headerDigest: string
}

/** A part of a model that lies in a folder of its own. */
export interface CheckpointModule {
  /** Of its folder; empty for the model's own. */
  readonly name: string
  /** What its files are called: `model`, `diffusion_pytorch_model`. */
  readonly stem: string
  readonly config?: Readonly<Record<string, unknown>>
  /** The text of that file: it is edited in place (`changeJson`), so that what does not change keeps its bytes. */
  readonly configText?: string
}

/** A model's headers: everything that planning needs, and no tensor data. */
export interface Checkpoint {
  /** As the user wrote it. */
  readonly reference: string
  readonly layout: 'file' | 'folder'
  /** Of a repository on the hub: its commit. */
  readonly revision?: string
  /** Absolute path of the file or folder. */
  readonly path: string
  readonly files: readonly CheckpointFile[]
  /** What the containers say, by name, in the order of names (code units). */
  readonly stored: ReadonlyMap<string, StoredTensor>
  /** The tensors of the model, in the same order: views of the stored ones. */
  readonly tensors: ReadonlyMap<string, LogicalTensor>
  /** `__metadata__`; of a sharded checkpoint, of its first file. */
  readonly metadata: Readonly<Record<string, string>>
  /** `config.json`, where there is one and it is an object. */
  readonly config?: Readonly<Record<string, unknown>>
  /** The text of that file: it is edited in place (`changeJson`), so that what does not change keeps its bytes. */
  readonly configText?: string
  /** Of a pipeline: its parts, each in a folder of its own, and what the names of their tensors begin with. */
  readonly modules?: readonly CheckpointModule[]
  /** `adapter_config.json` of a PEFT adapter, where there is one and it is an object. */
  readonly adapter?: Readonly<Record<string, unknown>>
  /** The bytes of that file. */
  readonly adapterFile?: Uint8Array
  /** Other small files of a hub-style folder (tokenizer, generation config, …), without its own `config.json`, those of modules with theirs: names relative to it. */
  readonly sidecars: readonly string[]
  /** What a user should know of how it was read. */
  readonly warnings?: readonly Diagnostic[]
  /** Other files of the folder that may matter to somebody, and that terge does not copy. */
  readonly leftOut?: readonly string[]
}

/** A tensor that is to be written. */
export interface TensorSpec {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
}

/** Where a tensor to be written goes. */
export interface PlacedTensor extends TensorSpec {
  /** Index into `OutputLayout.files`. */
  readonly file: number
  /** In bytes from the start of that file. */
  readonly offset: number
  readonly bytes: number
}

/** An output checkpoint before its data: file names, whole headers, and the place of each tensor. */
export interface OutputLayout {
  readonly files: readonly {
    readonly name: string
    readonly size: number
    /** The text of its header, as the container writes it; tensor data follows. */
    readonly header: string
  }[]
  readonly tensors: readonly PlacedTensor[]
  /** Where there are several files, which tensors are in which; one a module. */
  readonly indexes: readonly { readonly name: string; readonly text: string }[]
}
