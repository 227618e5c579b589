import { writeFileSync } from 'node:fs'
import { importMergekit } from 'terge'

writeFileSync(
  'mergekit.yml',
  `merge_method: slerp
base_model: models/base
models: [{model: models/base}, {model: models/c}]
parameters: {t: 0.5}
dtype: float32
`,
)
const { text, diagnostics } = await importMergekit('mergekit.yml')
console.log(text)
console.log(diagnostics.length)
