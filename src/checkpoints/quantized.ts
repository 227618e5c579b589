/** The weights of a quantized model as logical tensors. */
import path from 'node:path'
import { mapEach } from '../core/collections/eachOf.js'
import { Fault } from '../core/diagnostics.js'
import { type Quantized, quantizedWeights } from '../quantization/index.js'
import { dtypeIn, QUANTIZATION_FILES, settingsOf } from '../quantization/settings.js'
import { Refusal, type Settings, type StoredPart } from '../quantization/types.js'
import { boundsOf } from '../storage/local/regular.js'
import type { OpenFile } from '../storage/types.js'
import { readConfigFile } from './sidecars.js'
import { type Checkpoint, type LogicalTensor, smallFolderOf } from './types.js'

/** Bytes of the small tensors that planning needs. The largest describe one weight in JSON. */
const MOST_BYTES = 1 << 16

/** Opens a file of the checkpoint by its index. */
export type OpenPart = (file: number) => Promise<OpenFile>

/**
 * The checkpoint with its quantized weights as tensors in floating point, or with the reason why they can't be used. `open`
 * is called for files with small tensors that planning needs. Errors: those of `readConfigFile`.
 */
export async function withQuantized(checkpoint: Checkpoint, open: OpenPart): Promise<Checkpoint> {
  const { stored, files, config } = checkpoint
  const held = new Map<number, Promise<OpenFile>>()
  const read = async (tensor: StoredPart): Promise<Uint8Array> => {
    if (tensor.bytes > MOST_BYTES)
      throw new Refusal(
        'damaged-weights',
        `${files[tensor.file]!.name}: tensor ${tensor.name} has ${tensor.bytes} bytes, and no model needs that many`,
        'download the model again',
        tensor.name,
      )
    const file = held.get(tensor.file) ?? open(tensor.file)
    held.set(tensor.file, file)
    return (await file).read(tensor.offset, tensor.bytes)
  }
  try {
    const settings = settingsOf(config, await settingsBeside(checkpoint))
    if (!settings) return checkpoint
    const parted = [...checkpoint.tensors.values()].find(({ view }) => view.kind !== 'stored')
    if (parted)
      throw new Refusal(
        'packed-weights',
        `${checkpoint.reference}: quantized weights that are stored in parts`,
        'load the model in PyTorch and save it with save_pretrained',
        parted.name,
      )
    const fileName = (file: number): string => files[file]!.name
    const found = await quantizedWeights({ stored, settings, dtype: dtypeIn(config), fileName, read })
    return found ? { ...checkpoint, tensors: logicalOf(checkpoint, found), quantized: found } : checkpoint
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { code, message, hint, tensor } = error
    return { ...checkpoint, refusal: { code, message, hint, ...(tensor === undefined ? {} : { tensor }) } }
  } finally {
    await mapEach([...held.values()], 8, async (file) => (await file).close()).catch((error: unknown) => {
      if (!(error instanceof Fault)) throw error
    })
  }
}

/** What files beside the weights say about quantization. */
async function settingsBeside(checkpoint: Checkpoint) {
  const { reference, sidecars } = checkpoint
  const folder = smallFolderOf(checkpoint)
  const read = async (name: string): Promise<Settings | undefined> =>
    sidecars.includes(name)
      ? (await readConfigFile(path.join(folder, name), `${reference}/${name}`, await boundsOf(folder))).config
      : undefined
  const [modelopt, gptq] = await Promise.all(QUANTIZATION_FILES.map(read))
  return { 'hf_quant_config.json': modelopt, 'quantize_config.json': gptq }
}

/** The stored tensors that are tensors of the network, and the weights that are computed, in the order of names. */
function logicalOf({ tensors }: Checkpoint, { weights, claimed }: Quantized): ReadonlyMap<string, LogicalTensor> {
  const all: LogicalTensor[] = []
  for (const tensor of tensors.values()) if (!claimed.has(tensor.name)) all.push(tensor)
  for (const { name, dtype, shape, view, format } of weights.values()) all.push({ name, dtype, shape, view, format })
  all.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  return new Map(all.map((tensor) => [tensor.name, tensor]))
}
