import { modelLayouts } from 'terge'

const matrix = { name: 'model.layers.0.self_attn.qkv_proj.weight', dtype: 'F32', shape: [12, 4] }
const model = { config: { model_type: 'phi3' }, tensors: new Map([[matrix.name, matrix]]) }
for (const { name, certain, why } of modelLayouts(model)) console.log(name, certain, why)
