// The naive average of the quickstart from a program, with another weight.  node merge.mjs OUTPUT.safetensors
import { fileURLToPath } from 'node:url'
import { Fault, formatDiagnostic, plan, run, verify } from 'terge'

const recipe = fileURLToPath(new URL('average.yml', import.meta.url))
const [output = 'average.safetensors'] = process.argv.slice(2)
try {
  // From headers alone: a plain value, with a digest over everything that decides the bytes.
  const prepared = await plan(recipe, { output, set: ['merge.weights.first=3'] })
  console.log(prepared.plan.cost)
  const { outputs } = await run(prepared, {
    threads: 2,
    listen: ({ kind }) => kind === 'start' && console.log('started'),
  })
  for (const { lineage, lineagePath } of outputs) {
    console.log(lineage.tensors['fc1.weight']?.sources.map(({ model, weight }) => `${model} ${weight}`).join(', '))
    console.log((await verify(lineagePath, { recipeFolder: fileURLToPath(new URL('.', import.meta.url)) })).ok)
  }
} catch (error) {
  // Errors that the user can fix have diagnostics with a place and a hint.
  if (!(error instanceof Fault)) throw error
  for (const diagnostic of error.diagnostics) console.error(formatDiagnostic(diagnostic))
  process.exitCode = error.exit
}
