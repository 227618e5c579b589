/**
 * safetensors files that PyTorch's distributed checkpoints write with one file per rank (`HuggingFaceStorageWriter` with
 * `save_distributed`): each has a part of every tensor, under the tensor's own name.
 */
import { fault } from '../../../core/diagnostics.js'

const NAME = /^(?:.*\/)?shard-\d+-model-\d+-of-\d+\.safetensors$/
/** The key of the places of the parts, in JSON. */
const PLACES = 'DCP_SHARDING_INFO'
const LATER_PLACE = /"saved_offsets"\s*:\s*\[[^\]]*[1-9]/

/**
 * Error `unsupported-format`. Nothing in these files says how many there are, so a missing one would not be noticed, and nothing
 * but their offsets shows that tensors are not whole.
 */
export function refuseShards(fileName: string, metadata: Readonly<Record<string, string>>): void {
  const places = metadata[PLACES]
  if (places === undefined || !(NAME.test(fileName) || LATER_PLACE.test(places))) return
  throw fault(
    'unsupported-format',
    `${fileName}: it has only parts of the tensors, as a rank of a distributed checkpoint saved them`,
    'join the files of all ranks first: torch.distributed.checkpoint._consolidate_hf_safetensors.consolidate_safetensors_files(input_dir, output_dir)',
  )
}
