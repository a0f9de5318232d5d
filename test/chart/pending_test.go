package chart

// TODO: what this branch's agent does not have yet. Both lists go when it has.

var pendingSettings = []string{"exemptions", "brake", "containers", "logEnv"}

var pendingMetrics = []string{
	"cryptnono_config_reload_success",
	"cryptnono_config_last_reload_success_timestamp_seconds",
	"cryptnono_brake_engaged",
	"cryptnono_brake_withheld_total",
	"cryptnono_execwhacker_processes_exempt_total",
	"cryptnono_monero_processes_exempt_total",
	"cryptnono_execwhacker_container_verdicts_total",
	"cryptnono_execwhacker_container_verdict_seconds_bucket",
	"cryptnono_container_lookups_total",
	"cryptnono_container_lookup_seconds_bucket",
	"cryptnono_containers_known",
}
