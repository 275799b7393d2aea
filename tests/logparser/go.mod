module connscope/logparser

go 1.24

require github.com/coroot/logparser v1.2.1
