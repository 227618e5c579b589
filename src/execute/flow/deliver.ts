/** Files of outputs that leave this machine as soon as they are complete. */
import { removeTree } from '../../core/system/disk.js'
import { BESIDE_FILE } from '../../plan/flow/pieces.js'
import type { Stage } from '../../plan/flow/types.js'
import { partsIn } from '../../plan/placements.js'
import type { PlanOutput } from '../../plan/types.js'
import type { Unit } from '../../plan/units.js'
import type { Delivery } from '../types.js'
import { digestInputs } from '../units/digesting.js'
import type { UnitRecord } from '../units/records.js'
import type { Engine, OutputFiles } from '../units/types.js'
import type { Uploads } from './uploads.js'

/** Outputs that are elsewhere, by `Plan.outputs`. */
export type DeliveryMap = ReadonlyMap<number, Delivery>

/**
 * Begins to upload files that are complete, and removes them then. Nobody may write to them any more. `flush`: writes the records of their
 * tensors.
 */
export async function deliverFiles(
  {
    engine,
    files,
    deliveries,
    flush,
  }: {
    readonly engine: Engine
    readonly files: OutputFiles
    readonly deliveries?: DeliveryMap | undefined
    readonly flush: () => void
  },
  complete: Stage['complete'],
  uploads: Uploads,
): Promise<void> {
  const { plan, records, pool } = engine
  for (const { output, file } of complete) {
    const delivery = deliveries?.get(output)
    const first = files.first.get(output)
    if (!delivery?.early || first === undefined || delivery.isDone(file)) continue
    const parts = ownIn(plan.outputs[output]!.tensors, output, file, engine.part)
    const digests = parts.map(({ tensor, part }) => records.tensor(output, tensor)!.outputs[part]!)
    const place = files.paths[first + file]!
    await pool.release({ inputs: [files.readable + first + file], outputs: [first + file] })
    flush()
    uploads.add(plan.outputs[output]!.files[file]!.size + BESIDE_FILE, async (signal) => {
      await delivery.deliver(file, place, digests, signal)
      await removeTree(place)
    })
  }
}

/**
 * Takes over files that an earlier run uploaded, as far as this one makes their tensors. What was uploaded cannot be read again, so the
 * digests of that time count, and only together with a record of each tensor. `may`: whether the inputs of a unit are there or known.
 */
export async function takeDelivered(
  engine: Engine,
  files: OutputFiles,
  deliveries: DeliveryMap | undefined,
  may: (unit: Unit) => boolean,
): Promise<readonly Unit[]> {
  if (engine.claims.isEmpty) return []
  const taken: Unit[] = []
  for (const output of files.first.keys()) {
    const delivery = deliveries?.get(output)
    if (!delivery?.early) continue
    const delivered = deliveredIn(engine, output, delivery)
    const records = new Map<number, readonly (readonly [Unit, UnitRecord])[]>()
    for (const [tensor, own] of delivered.digests) {
      const found = await recordsOf(engine, engine.units.tensor(output, tensor), own, may)
      if (found) records.set(tensor, found)
    }
    // A file that has to be made again takes all files with it that have parts of its tensors.
    for (let before = -1; before !== records.size; ) {
      before = records.size
      for (const [file, tensors] of delivered.files) {
        if (tensors.every((tensor) => records.has(tensor))) continue
        delivered.files.delete(file)
        for (const tensor of tensors) records.delete(tensor)
      }
    }
    for (const found of records.values())
      for (const [unit, record] of found) {
        engine.records.keep(unit, record)
        if (unit.makes.length > 0) taken.push(unit)
      }
    for (const file of delivered.files.keys()) delivery.take(file)
  }
  return taken
}

/** The own tensors in files that were uploaded, and the digests of all their parts. */
function deliveredIn({ plan, part }: Engine, output: number, delivery: Delivery) {
  const { tensors } = plan.outputs[output]!
  const files = new Map<number, number[]>()
  const digests = new Map<number, (string | undefined)[]>()
  for (const file of plan.outputs[output]!.files.keys()) {
    const known = delivery.delivered(file)
    const own = known && ownIn(tensors, output, file, part)
    if (!own || own.length !== known.length) continue
    files.set(file, [...new Set(own.map(({ tensor }) => tensor))])
    for (const [index, { tensor, part: at }] of own.entries()) {
      const parts = digests.get(tensor) ?? tensors[tensor]!.placements.map(() => undefined)
      digests.set(tensor, parts)
      parts[at] = known[index]
    }
  }
  return { files, digests }
}

/** The stored parts of a file's tensors that this run makes, in their order. */
const ownIn = (tensors: PlanOutput['tensors'], output: number, file: number, part: Engine['part']) =>
  partsIn(tensors, file).filter(({ tensor }) => part?.owns(output, tensor) !== false)

/** The record of a tensor with these digests, and those of its factorings. */
async function recordsOf(
  engine: Engine,
  unit: Unit,
  outputs: readonly (string | undefined)[],
  may: (unit: Unit) => boolean,
): Promise<(readonly [Unit, UnitRecord])[] | undefined> {
  const { units, claims, records } = engine
  if (outputs.includes(undefined) || !claims.has(unit.key) || !may(unit)) return undefined
  const factorings = unit.needs.flatMap((need) => (need.kind === 'factoring' ? units.unit(need) : []))
  await digestInputs(engine, new Set([unit, ...factorings].flatMap(({ reads }) => reads)))
  const found: (readonly [Unit, UnitRecord])[] = []
  for (const [one, own] of [[unit, outputs], ...factorings.map((one) => [one, []] as const)] as const) {
    const record = claims.find({ key: one.key, inputs: records.inputsOf(one), outputs: own as readonly string[] })
    if (!record) return undefined
    found.push([one, record])
  }
  return found
}
