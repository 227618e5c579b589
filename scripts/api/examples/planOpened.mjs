import { openRecipe, planOpened } from 'terge'

// The models are opened once, for two plans with different seeds.
const opened = await openRecipe('average.yml')
const seeds = [1, 2]
for (const seed of seeds) {
  const { plan } = await planOpened({ ...opened, recipe: { ...opened.recipe, seed } })
  console.log(plan.seed, plan.outputs[0]?.tensors.length)
}
