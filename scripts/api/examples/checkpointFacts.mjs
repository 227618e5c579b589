import { checkpointFacts, inspect } from 'terge'

const { type, layers, parameters, dtypes } = checkpointFacts(await inspect('models/base'))
console.log(type, layers, parameters, dtypes)
