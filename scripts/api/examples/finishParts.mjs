import { Fault, finishParts, plan } from 'terge'

const prepared = await plan('average.yml', { output: 'out/unfinished.safetensors' })
try {
  await finishParts(prepared, { work: 'out/no-parts' })
} catch (error) {
  if (error instanceof Fault) console.log(error.diagnostics[0]?.code)
}
