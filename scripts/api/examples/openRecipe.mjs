import { openRecipe, planOpened } from 'terge'

const opened = await openRecipe('ties.yml')
console.log([...opened.models.keys()], opened.diagnostics.length)
const { plan } = await planOpened(opened)
console.log(plan.outputs.length)
