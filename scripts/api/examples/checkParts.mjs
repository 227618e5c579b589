import { checkParts, Fault } from 'terge'

try {
  await checkParts('average.yml', 100)
} catch (error) {
  if (!(error instanceof Fault)) throw error
  for (const { code, message } of error.diagnostics) console.log(`${code}: ${message}`)
}
