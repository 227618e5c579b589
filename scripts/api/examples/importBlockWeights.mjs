import { importBlockWeights } from 'terge'

const weights = '0, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1'
console.log(await importBlockWeights(weights, ['sdxl-a.safetensors', 'sdxl-b.safetensors']))
