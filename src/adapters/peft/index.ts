/** Adapters of PEFT: `adapter_config.json` with the file of weights beside it. */
import { quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import { EMPTY } from '../misfit.js'
import type { AdapterContent, AdapterFiles, AdapterFormat, Network, Reporter } from '../types.js'
import { hra } from './methods/hra.js'
import { ia3 } from './methods/ia3.js'
import { lora } from './methods/lora.js'
import { loha, lokr } from './methods/lycoris.js'
import { oft } from './methods/oft.js'
import { adalora, vera } from './methods/scaled.js'
import { trainableTokens } from './methods/tokens.js'
import type { PeftMethod } from './methods/types.js'
import { isFactor, type Sorted, savedName, sortTensors } from './names.js'
import { settings } from './settings.js'

/** By `peft_type`. */
const METHODS: Readonly<Record<string, PeftMethod>> = {
  LORA: lora,
  LOHA: loha,
  LOKR: lokr,
  IA3: ia3,
  HRA: hra,
  OFT: oft,
  VERA: vera,
  ADALORA: adalora,
  TRAINABLE_TOKENS: trainableTokens,
}

/**
 * Errors: `bad-adapter`, `adapter-arithmetic` for what terge cannot apply exactly, `adapter-factor`, `adapter-experts`,
 * `adapter-unused`. Warning: `unknown-adapter-key`.
 */
function read(
  { tensors, config = {} }: AdapterFiles,
  network: Network | undefined,
  reporter: Reporter,
): AdapterContent | undefined {
  const own = settings(config, reporter)
  const { peft_type: type = 'LORA' } = config
  const method = Object.hasOwn(METHODS, String(type)) ? METHODS[String(type)] : undefined
  if (!method) {
    own.refuse(`the method ${quote(String(type))}`)
    return undefined
  }
  const sorted = sortTensors(tensors)
  const updatesOf = method.read(own, { network, reporter, modules: sorted.modules })
  own.close(method.keys)
  const traits = own.traits()
  const found = checkTensors(sorted, tensors.size, method, reporter)
  if (!own.sound() || !found) return undefined
  const { replaced, beneath, modules } = sorted
  return { ...traits, updates: modules.flatMap(updatesOf), replaced, beneath }
}

/** False if there is nothing to read. */
function checkTensors(
  { modules, replaced, adapters, twice }: Sorted,
  count: number,
  { roles, example }: PeftMethod,
  reporter: Reporter,
): boolean {
  for (const stored of twice)
    reporter.error(
      'bad-adapter',
      `${quote(stored)} is stored twice, under two names`,
      'save the adapter again with PEFT',
    )
  // Rotations of single inputs have no numbers.
  const empty = [
    ...modules.flatMap(({ module, roles: own }) =>
      [...own].flatMap(([role, { shape }]) => (role !== 'oft_R' && shape.includes(0) ? [`${module}.${role}`] : [])),
    ),
    ...[...replaced].flatMap(([name, { shape }]) => (shape.includes(0) ? [name] : [])),
  ]
  if (empty.length > 0)
    reporter.error(
      'bad-adapter',
      `${plural(empty.length, 'tensor')} of it ${agree(empty.length, 'is', 'are')} empty: ${quote(empty[0]!)}${empty.length > 1 ? ', …' : ''}`,
      EMPTY,
    )
  if (adapters.length > 1)
    reporter.error(
      'bad-adapter',
      `it has the tensors of several adapters: ${adapters.map(quote).join(', ')}`,
      'save each adapter in a separate folder',
    )
  const known = new Set<string>(roles)
  const unused = modules.flatMap(({ module, roles: own }) =>
    [...own.keys()].filter((role) => !known.has(role)).map((role) => `${module}.${role}`),
  )
  const some = modules.some(({ roles: own }) => [...own.keys()].some((role) => known.has(role)))
  if (some && unused.length > 0)
    reporter.error(
      'adapter-unused',
      `its method does not use ${plural(unused.length, 'tensor')} of it: ${unused.slice(0, 3).join(', ')}${unused.length > 3 ? ', …' : ''}`,
      'check peft_type in adapter_config.json',
    )
  if (!some)
    reporter.error(
      'bad-adapter',
      `it has ${plural(count, 'tensor')} but no updates, such as ${example}`,
      'use an adapter saved by PEFT',
    )
  return some
}

export const peft: AdapterFormat = {
  name: 'PEFT',
  detect: ({ config }) => config !== undefined,
  read,
  isUpdate: isFactor,
  nameOf: savedName,
}
