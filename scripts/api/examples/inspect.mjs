import { inspect } from 'terge'

const { layout, files, tensors } = await inspect('models/mlp-0.safetensors')
console.log(
  layout,
  files.map(({ name, size }) => `${name}: ${size} bytes`),
)
for (const { name, dtype, shape } of tensors.values()) console.log(name, dtype, shape)
