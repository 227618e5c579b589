/** Files of outputs that leave this machine as soon as they are complete. */
import { removeTree } from '../../core/system/disk.js'
import type { Stage } from '../../plan/flow/types.js'
import { partsIn } from '../../plan/placements.js'
import type { Unit } from '../../plan/units.js'
import type { Delivery } from '../types.js'
import { digestInputs } from '../units/digesting.js'
import type { UnitRecord } from '../units/records.js'
import type { Engine, OutputFiles } from '../units/types.js'

/** Outputs that are elsewhere, by `Plan.outputs`. */
export type DeliveryMap = ReadonlyMap<number, Delivery>

/** Uploads files that are complete, and removes them. Nobody may write to them any more. `flush`: writes the records of their tensors. */
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
): Promise<void> {
  const { plan, records, pool } = engine
  for (const { output, file } of complete) {
    const delivery = deliveries?.get(output)
    const first = files.first.get(output)
    if (!delivery?.early || first === undefined || delivery.isDone(file)) continue
    const parts = partsIn(plan.outputs[output]!.tensors, file)
    const digests = parts.map(({ tensor, part }) => records.tensor(output, tensor)!.outputs[part]!)
    const place = files.paths[first + file]!
    await pool.release({ inputs: [files.readable + first + file], outputs: [first + file] })
    flush()
    await delivery.deliver(file, place, digests)
    await removeTree(place)
  }
}

/**
 * Takes over whole files that an earlier run uploaded. What was uploaded cannot be read again, so the digests of that time count, and
 * only together with a record of each tensor. `may`: whether the inputs of a unit are there or known.
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
    for (const file of engine.plan.outputs[output]!.files.keys()) {
      const digests = delivery.delivered(file)
      const found = digests && (await recordsOf(engine, output, file, digests, may))
      if (!found) continue
      for (const [unit, record] of found) engine.records.keep(unit, record)
      taken.push(...found.flatMap(([unit]) => (unit.makes.length > 0 ? unit : [])))
      delivery.take(file)
    }
  }
  return taken
}

/** The records of all tensors of a file, and of their factorings; undefined if one is missing, or lies in other files as well. */
async function recordsOf(
  engine: Engine,
  output: number,
  file: number,
  digests: readonly string[],
  may: (unit: Unit) => boolean,
): Promise<(readonly [Unit, UnitRecord])[] | undefined> {
  const { plan, units, claims, records } = engine
  const parts = partsIn(plan.outputs[output]!.tensors, file)
  if (parts.length !== digests.length) return undefined
  const outputs = new Map<number, string[]>()
  for (const [index, { tensor, part }] of parts.entries()) {
    const own = outputs.get(tensor) ?? []
    outputs.set(tensor, own)
    own[part] = digests[index]!
  }
  const found: (readonly [Unit, UnitRecord])[] = []
  for (const [tensor, own] of outputs) {
    const unit = units.tensor(output, tensor)
    const isWhole = own.length === plan.outputs[output]!.tensors[tensor]!.placements.length && !own.includes(undefined!)
    if (!isWhole || !claims.has(unit.key) || !may(unit)) return undefined
    const factorings = unit.needs.flatMap((need) => (need.kind === 'factoring' ? units.unit(need) : []))
    await digestInputs(engine, new Set([unit, ...factorings].flatMap(({ reads }) => reads)))
    for (const [one, outputs] of [[unit, own], ...factorings.map((one) => [one, []] as const)] as const) {
      const record = claims.find({ key: one.key, inputs: records.inputsOf(one), outputs })
      if (!record) return undefined
      found.push([one, record])
    }
  }
  return found
}
