/** NVIDIA's Model-Optimizer: FP8 per tensor or per channel, and NVFP4. */
import { isObject } from '../../core/json/text.js'
import { unsupported } from '../parts.js'
import type { Scheme, Settings } from '../types.js'
import { nvfp4 } from './fp4.js'
import { layout, plain } from './fp8.js'

/** Values of `quant_algo` whose weights are the product of numbers and scales. */
const ALGORITHMS: ReadonlySet<string> = new Set(['FP8', 'FP8_PER_CHANNEL_PER_TOKEN', 'NVFP4'])

export const modelopt: Scheme = {
  name: 'Model-Optimizer',
  methods: ['modelopt', 'modelopt_fp4'],
  layouts(model) {
    for (const algorithm of algorithms(model.settings))
      if (!ALGORITHMS.has(algorithm)) throw unsupported(`its quant_algo is ${algorithm}`)
    for (const name of model.stored.keys())
      if (/pre_quant_scale$|svdquant_lora_[ab]/.test(name))
        throw unsupported(`${name} changes weights or activations in a way that a merge can't keep`)
    return [
      layout('.weight', '.weight', '.weight_scale', (module) => plain(module, module.need('.weight_scale'))),
      {
        codes: '.weight',
        weight: '.weight',
        fits: ({ dtype, shape }) => dtype === 'U8' && shape.length >= 2,
        required: ['.weight_scale', '.weight_scale_2'],
        make: (module) => nvfp4(module, '.weight_scale', { kind: 'times', end: '.weight_scale_2' }),
      },
    ]
  },
}

/** The algorithm of the model, or those of its layers. */
function algorithms({ quant_algo: algorithm, quantized_layers: layers }: Settings): string[] {
  if (typeof algorithm !== 'string') throw unsupported('its configuration has no quant_algo')
  if (algorithm.toUpperCase() !== 'MIXED_PRECISION') return [algorithm.toUpperCase()]
  if (!isObject(layers)) throw unsupported('its quant_algo is MIXED_PRECISION without quantized_layers')
  return Object.values(layers).flatMap((layer) =>
    isObject(layer) && typeof layer.quant_algo === 'string' ? [layer.quant_algo.toUpperCase()] : [],
  )
}
