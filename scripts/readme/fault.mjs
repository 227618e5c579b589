// How faults look: a recipe with two of them, validated.
import { formatDiagnostic, load } from '../../dist/src/index.js'

const RECIPE = `terge: 1
models:
  base: ./models/base
  math: ./models/math
merge:
  method: liner
  wieghts: {math: 0.6}
output: ./merged
`

export function fault() {
  const { diagnostics } = load('recipe.yml', { text: RECIPE })
  return `\`\`\`\n${diagnostics.map(formatDiagnostic).join('\n')}\n\`\`\``
}
