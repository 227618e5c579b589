import { diff } from 'terge'

const { overall, tensors } = await diff('models/base', 'models/python', {
  filter: (name) => name.startsWith('model.layers.0.self_attn'),
})
console.log(overall.tensors, overall.relativeL2?.toFixed(4))
for (const { tensor, state, cosine } of tensors) console.log(tensor, state, cosine?.toFixed(4))
