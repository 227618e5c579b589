import type { Update } from '../../adapters/types.js'
import { sameShape } from '../../core/dtypes.js'
import { type Orientation, orientations } from '../../networks/orientation.js'
import type { Application } from './application.js'

/** How a square weight is stored. Neither its shape nor PEFT's single flag for all layers shows it. */
export function orientation(
  { base, config, adapter, reporter }: Application,
  find: (name: string) => string | undefined,
): (module: string) => Orientation | undefined {
  if (adapter.straight) return () => 'straight'
  const known = orientations(base.tensors, config)
  const nameOf = (module: string): string => (find(`${module}.weight`) ?? `${module}.weight`).replace(/\.weight$/, '')
  const linear = adapter.updates.filter(({ kind, embedding }: Update) => kind !== 'bias' && !embedding)
  for (const { module, parts } of linear) {
    const { a, b } = parts
    const shape = base.tensors.get(`${nameOf(module)}.weight`)?.shape
    if (shape?.length !== 2 || a?.shape.length !== 2 || b?.shape.length !== 2) continue
    const sizes = [b.shape[0]!, a.shape[1]!] as const
    if (sizes[0] === sizes[1]) continue
    if (sameShape(shape, sizes)) known.note(nameOf(module), 'straight')
    else if (sameShape(shape, [sizes[1], sizes[0]])) known.note(nameOf(module), 'turned')
  }
  const names = linear.map(({ module }) => nameOf(module))
  return (module) => {
    const decision = known.byFlag(nameOf(module), adapter.fanInFanOut, names)
    if (decision === 'straight' || decision === 'turned') return decision
    reporter.error(
      'adapter-orientation',
      decision === 'contradiction'
        ? `${module} is square, and of the layers around it some are stored [in, out] and some [out, in]`
        : `${module} is square, and nothing shows whether it is stored [in, out] or [out, in]: fan_in_fan_out is ${adapter.fanInFanOut}, but PEFT writes it for the last layer only`,
      'merge the adapter into its base with PEFT, and use the result; or set model_type in the model’s config.json',
    )
    return undefined
  }
}
