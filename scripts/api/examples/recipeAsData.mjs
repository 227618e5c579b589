import { plan, recipeAsData, recipeOf } from 'terge'

const text = recipeOf({ models: ['models/base', 'models/c'], method: 'linear', output: 'out/mean' })
const recipe = recipeAsData(text)
console.log(JSON.stringify(recipe))
const { plan: planned } = await plan('recipe.yml', { text })
console.log(planned.outputs[0]?.tensors.length)
