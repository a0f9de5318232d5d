package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// execs executes a small static program count times with these arguments, including argv[0], and
// returns how long that took. One additional exec, of the program that executes it, has nearly the
// same arguments.
func (b *bench) execs(ctx context.Context, count int, argv []string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, b.spawn)
	cmd.Env = environment()
	cmd.Args = append([]string{"spawn", strconv.Itoa(count)}, argv...)
	ns, err := nanoseconds(cmd)
	return time.Duration(ns), err
}

// environment returns the environment of a notebook server, of some 1,000 bytes.
func environment() []string {
	all := []string{
		"PATH=/opt/conda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/jovyan", "LANG=C.UTF-8", "SHELL=/bin/bash",
		"JUPYTERHUB_API_URL=http://hub:8081/hub/api", "JUPYTERHUB_CLIENT_ID=jupyterhub-user-jovyan", "JUPYTERHUB_SERVICE_PREFIX=/user/jovyan/",
		"BINDER_REF_URL=https://github.com/binder-examples/conda/tree/9c2a", "BINDER_LAUNCH_HOST=https://mybinder.example/",
		"CONDA_DEFAULT_ENV=notebook", "NB_PYTHON_PREFIX=/srv/conda/envs/notebook", "OMP_NUM_THREADS=1", "PYTHONUNBUFFERED=1",
	}
	for i := range 8 {
		all = append(all, fmt.Sprintf("SERVICE_%d_PORT=tcp://10.96.0.%d:80", i, i), fmt.Sprintf("SERVICE_%d_HOST=10.96.0.%d", i, i))
	}
	return all
}

// size is the number of bytes of variables, including a NUL for each.
func size(env []string) (n int) {
	for _, v := range env {
		n += len(v) + 1
	}
	return n
}

// commands are the command lines that realistic uses.
var commands = strings.Fields(`
python3 -m ipykernel_launcher -f /home/jovyan/.local/share/jupyter/runtime/kernel-4f0c2b1e-98aa.json
/usr/lib/gcc/x86_64-linux-gnu/14/cc1plus -quiet -I../include -D_GNU_SOURCE -std=gnu++20 -O2 -Wall
-fPIC -fstack-protector-strong --param=ssp-buffer-size=4 -o build/CMakeFiles/core.dir/src/matrix.cpp.o
git -c core.quotePath=false log --pretty=format:%H%x00%an%x00%ae --since=2.weeks.ago -- src/ docs/
docker run --rm -it -v /home/jovyan/work:/work -e OMP_NUM_THREADS=4 quay.io/jupyter/scipy-notebook:latest
node --max-old-space-size=4096 /opt/conda/lib/node_modules/webpack/bin/webpack.js --mode=production
java -Xmx2g -cp /usr/share/java/spark-core.jar:/usr/share/java/guava.jar org.apache.spark.deploy.SparkSubmit
curl -sSL -H Accept:application/json https://api.example.org/v2/datasets?page=12&per_page=100
bash -c set -e; for f in *.csv; do sort -u "$f" > "${f%.csv}.sorted"; done
`)

// realistic returns arguments of compilers, notebooks and shells with a total of size bytes,
// including NULs.
func realistic(rnd *rand.Rand, size int) []string {
	return arguments(size, func() string { return commands[rnd.IntN(len(commands))] })
}

// random returns arguments of random bytes with a total of size bytes.
func random(rnd *rand.Rand, size int) []string {
	return arguments(size, func() string {
		word := make([]byte, 1+rnd.IntN(40))
		for i := range word {
			word[i] = byte(1 + rnd.IntN(255))
		}
		return string(word)
	})
}

// arguments returns words with a total of size bytes, including a NUL for each.
func arguments(size int, word func() string) []string {
	var argv []string
	for size > 0 {
		w := word()
		w = w[:min(len(w), size-1)]
		argv = append(argv, w)
		size -= len(w) + 1
	}
	return argv
}
