import { recipeOf } from 'terge'

console.log(recipeOf({ models: ['models/base', 'models/c'], method: 'slerp', output: 'out/half', param: ['t=0.5'] }))
