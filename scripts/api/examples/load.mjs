import { load } from 'terge'

const { recipe, diagnostics } = load('average.yml', { set: ['merge.weights.first=3'] })
console.log(
  recipe?.steps.map(({ name, kind }) => `${name}: ${kind}`),
  diagnostics.length,
)

// A recipe can be an object. Errors are values.
const broken = load({ terge: 1, models: { a: 'a', b: 'b' }, merge: { method: 'lineer' }, output: 'out' })
console.log(broken.diagnostics.map(({ code, hint }) => `${code}: ${hint}`))
