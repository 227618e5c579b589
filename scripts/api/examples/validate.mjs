import { validate } from 'terge'

const { diagnostics, plan } = await validate('ties.yml')
console.log(
  diagnostics.length,
  plan?.outputs.map(({ tensors }) => `${tensors.length} tensors`),
)
