import { init } from 'terge'

const text = await init(['models/base', 'models/python'])
console.log(text.split('\n').find((line) => line.startsWith('terge:')))
