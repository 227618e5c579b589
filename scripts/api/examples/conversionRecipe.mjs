import { conversionRecipe } from 'terge'

console.log(conversionRecipe({ model: 'models/mixtral', output: 'out/fused', layout: ['mixtral/transformers-5'] }))
