/** IA³ of PEFT: feed-forward modules scale their inputs, all others their outputs, with the bias. */
import { compilePattern } from '../../../core/patterns.js'
import type { Update } from '../../types.js'
import type { Settings } from '../settings.js'
import type { PeftMethod } from './types.js'

/** Whether a module scales its inputs. */
function feedForward({ config, bad }: Settings): (module: string) => boolean | undefined {
  const { feedforward_modules: written } = config
  if (Array.isArray(written)) return (module) => written.some((name) => module.endsWith(String(name)))
  if (typeof written !== 'string') return () => undefined
  const compiled = compilePattern(`/^(${written})$/`)
  if (compiled.kind !== 'fault') return compiled.matches
  bad(`feedforward_modules: ${compiled.message}`)
  return () => undefined
}

export const ia3: PeftMethod = {
  keys: ['feedforward_modules', 'init_ia3_weights'],
  roles: ['ia3_l'],
  example: '…k_proj.ia3_l',
  read(settings, { network, reporter }) {
    const isFeedForward = feedForward(settings)
    return ({ module, roles }) => {
      const l = roles.get('ia3_l')
      if (!l) return []
      // A linear layer's vector is [1, inputs] or [outputs, 1].
      const [first, second] = l.shape
      const shown = l.shape.length === 2 && first !== second ? first === 1 : undefined
      const perInput = shown ?? isFeedForward(module)
      if (perInput === undefined) {
        reporter.error(
          'bad-adapter',
          `nothing shows whether ${module} scales its inputs or its outputs: feedforward_modules is not in adapter_config.json`,
          'save the adapter again with PEFT',
        )
        return []
      }
      const update = (part: string): Update => ({
        ...{ kind: 'ia3', module, target: { name: `${module}.${part}` }, parts: { l } },
        ...{ scale: 1, settings: { perInput } },
      })
      const hasBias = !perInput && network?.find(`${module}.bias`) !== undefined
      return [update('weight'), ...(hasBias ? [update('bias')] : [])]
    }
  },
}
