import { inspect, permutationSpec } from 'terge'

const { family, text } = await permutationSpec(await inspect('models/mlp-0.safetensors'))
console.log(family)
console.log(text.groups)
for (const [name, axes] of Object.entries(text.tensors)) console.log(name, axes)
